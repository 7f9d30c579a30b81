"""Reading of a stack that may be larger than memory, in blocks of rows.

Whatever has a shape, a type and NumPy's slices will do: an array, or a dataset in a
file. A block holds some rows at all energies. The stack is read as often as sums over
all pixels are needed: once for the Gram matrix (or a few times for the random subspace
of `sketch`), and once more for the coefficient images.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float, Num

from tvjax.noise import Noise
from tvjax.stack.binning import square_sums

# Bytes that each value of a block takes while the block is processed: 4 as it was read
# and 8 in double precision.
BYTES = 12
# Gram matrices are also taken of pixels binned in squares of side 4, and of these bins
# binned once more: faint states that extend over many pixels stand out there.
COARSER, NUM_COARSE = 4, 2


@runtime_checkable
class Sliceable(Protocol):
    """What a stack must offer: an array's shape, type and slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of energies, height and width."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        ...

    def __getitem__(self, place: tuple[slice, slice], /) -> np.ndarray:
        """The values in a slice of the energies and a slice of the rows."""
        ...


class Sums(NamedTuple):
    """What the first pass adds up, over the valid pixels."""

    gram: Float[np.ndarray, "energy energy"]  # YᵀY, in double precision
    coarse: Float[np.ndarray, "level energy energy"]  # the same of binned pixels
    variance: Float[np.ndarray, " energy"]  # mean of a noise model's, else zero


class Projection(NamedTuple):
    """What the second pass finds in every pixel; zero where one is invalid."""

    images: Float[np.ndarray, "component height width"]  # W = Ỹ V
    power: Float[np.ndarray, "height width"]  # Σ_t ỹ_t²


class Blocks:
    """A stack that is read in blocks of rows."""

    def __init__(
        self,
        stack: Sliceable,
        mask: Bool[np.ndarray, "height width"] | None,
        memory: int,
        progress: Callable[[int, int], None],
        num_passes: int = 2,
    ) -> None:
        """Read no more at a time than `memory` bytes allow, but one row at least."""
        self.num_energies, self.height, self.width = stack.shape
        self.mask = mask
        self.num_valid = self.height * self.width if mask is None else int(mask.sum())
        self.dtype = jax.dtypes.canonicalize_dtype(
            jnp.promote_types(stack.dtype, jnp.float32)
        )
        self._stack = stack
        row = self.num_energies * self.width * BYTES
        self._rows = int(np.clip(memory // row, 1, self.height))
        if self._rows > COARSER**NUM_COARSE:
            self._rows -= self._rows % COARSER**NUM_COARSE  # no bin is cut
        self._progress = progress
        self._done, self._total = 0, num_passes * self.height

    def rows(self) -> Iterator[slice]:
        """Yield the rows of each block."""
        for start in range(0, self.height, self._rows):
            yield slice(start, min(start + self._rows, self.height))

    def read(self) -> Iterator[tuple[slice, Float[np.ndarray, "energy pixel"]]]:
        """Yield the rows of each block and its values, zero where invalid."""
        for rows in self.rows():
            block = np.asarray(self._stack[:, rows], self.dtype)
            if self.mask is not None:
                block = np.where(self.mask[rows], block, 0)
            yield rows, block.reshape(self.num_energies, -1)
            self._done += rows.stop - rows.start
            self._progress(self._done, self._total)


def add_up(blocks: Blocks, noise: Noise | None) -> Sums:
    """The sums over all pixels from which basis and noise levels follow.

    In double precision, because in single precision the Gram matrix would lose every
    component below the square root of its rounding, a thousandth of the largest.

    Raises:
        ValueError: A frame is zero, or not finite, in valid pixels.
    """
    gram = np.zeros((blocks.num_energies,) * 2)
    coarse = np.zeros((NUM_COARSE, *gram.shape))
    variance = np.zeros(blocks.num_energies)
    for rows, block in blocks.read():
        double = block.astype(float)
        gram += double @ double.T
        sums = block.reshape(len(block), -1, blocks.width)
        for total in coarse:
            sums = square_sums(sums, COARSER)
            flat = sums.reshape(len(sums), -1).astype(float)
            total += flat @ flat.T
        if noise is not None:
            variance += variances_of(noise, block, rows, blocks).sum(axis=1)
    check_power(np.diagonal(gram))
    return Sums(gram, coarse, variance / blocks.num_valid)


def check_power(power: Float[np.ndarray, " energy"]) -> None:
    """Raise a `ValueError` for a frame that is zero or not finite.

    Args:
        power: Sum of squares over the valid pixels of each frame.
    """
    _refuse(
        ~np.isfinite(power),
        "NaN or infinite values at valid pixels: leave these energies out, or mark the "
        "pixels invalid with mask=numpy.isfinite(stack).all(0)",
    )
    _refuse(power == 0, "zero in every valid pixel: leave these energies out")


def project(
    blocks: Blocks,
    vectors: Float[np.ndarray, "energy component"],
    sigma: Float[np.ndarray, " energy"],
) -> Projection:
    """The coefficient images of the stack divided by `sigma`, in one more pass."""
    shape = (vectors.shape[1], blocks.height, blocks.width)
    images = np.zeros(shape, blocks.dtype)
    power = np.zeros(shape[1:], blocks.dtype)
    whitening = (1 / sigma[:, None]).astype(blocks.dtype)
    directions = vectors.T.astype(blocks.dtype)
    for rows, block in blocks.read():
        white = whitening * block  # squares of the data themselves may overflow
        images[:, rows] = (directions @ white).reshape(len(images), -1, blocks.width)
        squares = np.einsum("tp,tp->p", white, white)
        power[rows] = squares.reshape(-1, blocks.width)
    return Projection(images, power)


def variances_of(
    noise: Noise,
    block: Num[np.ndarray, "energy pixel"],
    rows: slice,
    blocks: Blocks,
) -> Float[np.ndarray, "energy pixel"]:
    """The variance of a block by a noise model, never negative, zero where invalid."""
    part: Noise = jax.tree.map(
        lambda z: z[..., rows, :] if z.shape[-2:-1] == (blocks.height,) else z, noise
    )
    values = jnp.asarray(block.reshape(blocks.num_energies, -1, blocks.width))
    variance = np.maximum(np.asarray(part.variance(values)), 0)
    if blocks.mask is not None:
        variance = np.where(blocks.mask[rows], variance, 0)
    return variance.reshape(block.shape)


def _refuse(bad: Bool[np.ndarray, " energy"], fault: str) -> None:
    if bad.any():
        some = ", ".join(map(str, np.flatnonzero(bad)[:5]))
        more = ", ..." if bad.sum() > 5 else ""
        raise ValueError(f"frames {some}{more} (counted from 0) hold {fault}.")
