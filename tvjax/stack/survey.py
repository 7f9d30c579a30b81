"""First pass over a stack: its noise at each energy, and its temporal basis."""

from typing import NamedTuple

import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray
from scipy.signal import correlate2d
from scipy.sparse.linalg import eigsh

from tvjax.noise import Correlated, diagnose_noise, Noise
from tvjax.risk.singular import basis_response, Response
from tvjax.stack.blocks import add_up, Blocks, Sliceable
from tvjax.stack.noise_check import mean_level
from tvjax.stack.noise_levels import (
    noise_levels,
    num_above_noise,
    temporal_basis_of,
    TemporalBasis,
)
from tvjax.stack.sketch import NUM_PASSES as SKETCH_PASSES, sketch

# With more energies than this, a random subspace is used instead of the Gram matrix,
# which costs the square of their number in each pixel.
LARGE = 1500
# With fewer energies than this, the noise is estimated from each image, as for a
# photograph. So it is where there are no more pixels than energies: then nothing is
# left that the other energies do not explain.
FEW = 12
# Faint components are sought in this many directions beyond the clear ones: of the
# stack, and of the stack with binned pixels.
FINE, COARSE = 16, 8
# A direction is dropped if less than this share of its length is left once those before
# it are taken out: it is not a new one.
NEW = 0.1


class Survey(NamedTuple):
    """The stack divided by its noise at each energy, as far as one pass shows it."""

    sigma: Float[np.ndarray, " energy"]
    num_independent: float  # as many pixels of white noise would tell as much
    basis: TemporalBasis
    coarse: Float[np.ndarray, "level energy energy"]  # Gram matrices of binned pixels
    # what a model says that has correlated the noise; None for white noise, and where
    # the stack has samples of its own
    kernel: Float[np.ndarray, "row column"] | None

    def num_clear(self, num_pixels: int) -> int:
        """How many components are more than noise can have; the first always counts."""
        fewer = (self.num_independent / num_pixels) ** 0.5
        shape = (self.num_independent, len(self.sigma))
        return max(num_above_noise(self.basis.values * fewer, shape), 1)

    def leading_response(self, num_pixels: int) -> Response:
        """How the first vector responds to the noise."""
        responses = basis_response(jnp.asarray(self.basis.values), num_pixels)
        return Response(*(part[0] for part in responses))

    def directions(
        self, clear: int, least: int
    ) -> Float[np.ndarray, "energy candidate"]:
        """Orthonormal directions that hold all there is to find, the clear ones first.

        Args:
            clear: Number of components that are clear.
            least: Number of directions that are wanted in any case; all directions
                together are no more than half the energies, unless these are.
        """
        fine = self.basis.vectors[:, : max(clear + FINE, least)]
        found = [fine[:, :least]]
        for gram in self.coarse:
            found.append(_leading(_outside(gram, fine[:, :clear]), COARSE))
        found.append(fine[:, least:])
        vectors, triangle = np.linalg.qr(np.concatenate(found, axis=1))
        vectors = vectors[:, np.abs(np.diagonal(triangle)) > NEW]
        return vectors[:, : max(len(self.sigma) // 2, least)]


def _outside(
    gram: Float[np.ndarray, "energy energy"], known: Float[np.ndarray, "energy value"]
) -> Float[np.ndarray, "energy energy"]:
    """The Gram matrix of what is left of a stack once orthonormal vectors are out."""
    half = gram - known @ (known.T @ gram)
    return half - (half @ known) @ known.T


def _leading(
    gram: Float[np.ndarray, "energy energy"], num: int
) -> Float[np.ndarray, "energy value"]:
    """The leading eigenvectors, by Lanczos' iteration where they are few."""
    if 4 * num > len(gram):
        return np.linalg.eigh(gram)[1][:, : -num - 1 : -1]
    start = np.random.default_rng(0).standard_normal(len(gram))
    # `tol` is a real number, though SciPy's default for it is the integer 0
    vectors = eigsh(gram, num, v0=start, tol=1e-6)[1]  # type: ignore[arg-type]
    return vectors[:, ::-1]


def num_passes(stack: Sliceable) -> int:
    """How often a stack is read, the pass for the coefficient images included."""
    return SKETCH_PASSES + 1 if is_large(stack) else 2


def is_large(stack: Sliceable) -> bool:
    """Whether there are too many energies for a Gram matrix."""
    return stack.shape[0] > LARGE


def survey(
    stack: Sliceable, blocks: Blocks, noise: Noise | None, key: PRNGKeyArray
) -> Survey:
    """The first pass, or the first few where there are very many energies.

    Raises:
        ValueError: A frame is not finite or zero, or a large stack has no low rank.
    """
    if is_large(stack):
        sigma, basis = sketch(blocks, noise, key)
        none = np.empty((0, len(sigma), len(sigma)))
        kernel = kernel_of_noise(noise)
        independent = _num_independent(kernel, blocks)
        return Survey(sigma, independent, basis, none, kernel)
    sums = add_up(blocks, noise)
    if noise is None and tells_its_noise(blocks):
        kernel = None
        sigma, independent = noise_levels(sums.gram, blocks.num_valid)
    else:
        if noise is None:
            sigma, kernel = _noise_of_images(stack, blocks.mask)
        else:
            sigma, kernel = np.sqrt(sums.variance), kernel_of_noise(noise)
        independent = _num_independent(kernel, blocks)
    # what has no noise at all still has the rounding of its type
    rounding = np.finfo(blocks.dtype).eps * np.sqrt(np.diagonal(sums.gram))
    sigma = np.maximum(sigma, rounding / blocks.num_valid**0.5)
    scale = np.outer(sigma, sigma)
    basis = temporal_basis_of(sums.gram / scale)
    return Survey(sigma, independent, basis, sums.coarse / scale, kernel)


def tells_its_noise(blocks: Blocks) -> bool:
    """Whether there are energies enough to tell the noise of one from the others."""
    return FEW <= blocks.num_energies < blocks.num_valid


def kernel_of_noise(noise: Noise | None) -> Float[np.ndarray, "row column"] | None:
    """The kernel that has correlated the noise, None for white noise."""
    return np.asarray(noise.kernel) if isinstance(noise, Correlated) else None


def _num_independent(
    kernel: Float[np.ndarray, "row column"] | None, blocks: Blocks
) -> float:
    """As many pixels of white noise would tell as much, (tr C)²/tr C²."""
    if kernel is None:
        return float(blocks.num_valid)
    return blocks.num_valid / float(np.sum(correlate2d(kernel, kernel) ** 2))


def _noise_of_images(
    stack: Sliceable, mask: Bool[np.ndarray, "height width"] | None
) -> tuple[Float[np.ndarray, " energy"], Float[np.ndarray, "row column"] | None]:
    """The deviation in each image by itself, and the kernel in the middle one."""
    num_energies, height, _ = stack.shape
    sigma, kernel = np.empty(num_energies), None
    for t in range(num_energies):
        frame = np.asarray(stack[t : t + 1, 0:height])[0]
        report = diagnose_noise(frame, mask)
        sigma[t] = mean_level(report, frame, mask)
        if t == num_energies // 2:
            kernel = kernel_of_noise(report.noise)
    return sigma, kernel
