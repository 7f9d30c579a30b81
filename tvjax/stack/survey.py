"""First pass over a stack: its noise at each energy, and its temporal basis."""

from typing import NamedTuple

import numpy as np
from jax import numpy as jnp
from jaxtyping import Float, PRNGKeyArray, Real
from scipy.sparse.linalg import eigsh

from tvjax.noise import Gaussian, Noise
from tvjax.risk.singular import basis_response, Response
from tvjax.stack.blocks import add_up, Blocks, Sliceable
from tvjax.stack.noise_levels import (
    noise_levels,
    NoiseLevels,
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
        return Survey(sigma, float(blocks.num_valid), basis, none)
    sums = add_up(blocks, noise)
    sigma, num_independent = _noise_of(stack, sums.gram, sums.variance, noise, blocks)
    scale = np.outer(sigma, sigma)
    basis = temporal_basis_of(sums.gram / scale)
    return Survey(sigma, num_independent, basis, sums.coarse / scale)


def _noise_of(
    stack: Sliceable,
    gram: Float[np.ndarray, "energy energy"],
    variance: Float[np.ndarray, " energy"],
    noise: Noise | None,
    blocks: Blocks,
) -> NoiseLevels:
    """The standard deviation of the noise at each energy, by a model or estimated."""
    num_independent = float(blocks.num_valid)
    if noise is not None:
        sigma = np.sqrt(variance)
    elif FEW <= blocks.num_energies < blocks.num_valid:
        sigma, num_independent = noise_levels(gram, blocks.num_valid)
    else:
        frames = (stack[t : t + 1, :][0] for t in range(blocks.num_energies))
        sigma = np.array([_noise_of_image(frame, blocks) for frame in frames])
    # what has no noise at all still has the rounding of its type
    rounding = np.finfo(blocks.dtype).eps * np.sqrt(np.diagonal(gram))
    sigma = np.maximum(sigma, rounding / blocks.num_valid**0.5)
    return NoiseLevels(sigma, num_independent)


def _noise_of_image(frame: Real[np.ndarray, "height width"], blocks: Blocks) -> float:
    y = jnp.asarray(frame, blocks.dtype)
    mask = None if blocks.mask is None else jnp.asarray(blocks.mask)
    return float(Gaussian.estimate(y, mask).sigma)
