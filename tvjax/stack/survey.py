"""What does the first pass over a stack tell: how noisy is it, and along what basis?"""

from typing import NamedTuple

import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Float, PRNGKeyArray
from scipy.sparse.linalg import eigsh

from tvjax.denoisers.subspace import Basis
from tvjax.noise import Gaussian, Noise
from tvjax.risk.singular import basis_response, Response
from tvjax.stack.blocks import add_up, Blocks, Sliceable
from tvjax.stack.noise_levels import (
    Levels,
    noise_levels,
    num_above_noise,
    temporal_basis_of,
)
from tvjax.stack.sketch import NUM_PASSES as SKETCH_PASSES, sketch

# With more energies the Gram matrix costs more than it tells.
LARGE = 1500
# With fewer energies the noise is estimated from the images, as for a photograph; so it
# is with fewer pixels than energies, which leave nothing that no other energy explains.
FEW = 12
# Directions beyond the clear ones, of the stack and of each coarser one, in which
# faint components are looked for.
FINE, COARSE = 16, 8
# What is left of a direction when those before it are taken out, to be one of its own.
NEW = 0.1


class Survey(NamedTuple):
    """Of the stack divided by its noise level at each energy."""

    sigma: Float[np.ndarray, " energy"]
    num_independent: float  # as many pixels of white noise would tell as much
    basis: Basis
    coarse: Float[np.ndarray, "side energy energy"]  # Gram matrices of coarser pixels

    def num_clear(self, num_pixels: int) -> int:
        """How many components are more than noise can have, the first in any case."""
        fewer = (self.num_independent / num_pixels) ** 0.5
        shape = (self.num_independent, len(self.sigma))
        return max(num_above_noise(self.basis.values * fewer, shape), 1)

    def leading_response(self, num_pixels: int) -> Response:
        """How the first vector answers to the noise."""
        return Response(*(z[0] for z in basis_response(self.basis.values, num_pixels)))

    def directions(
        self, clear: int, least: int
    ) -> Float[np.ndarray, "energy candidate"]:
        """Orthonormal directions that hold all there is to find, the clear ones first.

        Args:
            clear: Components that are clear.
            least: Directions that are asked for; the others are no more than half.
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
    """The Gram matrix of what orthonormal vectors leave of a stack."""
    half = gram - known @ (known.T @ gram)
    return half - (half @ known) @ known.T


def _leading(
    gram: Float[np.ndarray, "energy energy"], num: int
) -> Float[np.ndarray, "energy value"]:
    """Its leading eigenvectors, by the iteration of Lanczos where they are few."""
    if 4 * num > len(gram):
        return np.linalg.eigh(gram)[1][:, : -num - 1 : -1]
    start = np.random.default_rng(0).standard_normal(len(gram))
    return eigsh(gram, num, v0=start, tol=1e-6)[1][:, ::-1]


def num_passes(stack: Sliceable) -> int:
    """How often a stack is read, the pass for the images among them."""
    return SKETCH_PASSES + 1 if is_large(stack) else 2


def is_large(stack: Sliceable) -> bool:
    """Are there so many energies that their Gram matrix is not taken?"""
    return stack.shape[0] > LARGE


def survey(
    stack: Sliceable, blocks: Blocks, noise: Noise | None, key: PRNGKeyArray
) -> Survey:
    """The first pass, or a few of them for very many energies.

    Raises:
        ValueError: A frame is not finite or zero, or a large stack has no low rank.
    """
    if is_large(stack):
        sigma, basis = sketch(blocks, noise, key)
        none = np.empty((0, len(sigma), len(sigma)))
        return Survey(sigma, float(blocks.num_valid), basis, none)
    sums = add_up(blocks, noise)
    sigma, num_independent = _levels(stack, sums.gram, sums.variance, noise, blocks)
    scale = np.outer(sigma, sigma)
    basis = temporal_basis_of(sums.gram / scale)
    return Survey(sigma, num_independent, basis, sums.coarse / scale)


def _levels(
    stack: Sliceable,
    gram: np.ndarray,
    variance: np.ndarray,
    noise: Noise | None,
    blocks: Blocks,
) -> Levels:
    """The standard deviation of the noise at each energy."""
    num_independent = float(blocks.num_valid)
    if noise is not None:
        sigma = np.sqrt(variance)
    elif FEW <= blocks.num_energies < blocks.num_valid:
        sigma, num_independent = noise_levels(gram, blocks.num_valid)
    else:
        frames = (stack[t : t + 1, :][0] for t in range(blocks.num_energies))
        sigma = np.array([_of_image(frame, blocks) for frame in frames])
    # what has no noise at all still has the rounding of its type
    rounding = np.finfo(blocks.dtype).eps * np.sqrt(np.diagonal(gram))
    sigma = np.maximum(sigma, rounding / blocks.num_valid**0.5)
    return Levels(sigma, num_independent)


def _of_image(frame: np.ndarray, blocks: Blocks) -> float:
    y: Array = jnp.asarray(frame, blocks.dtype)
    mask = None if blocks.mask is None else jnp.asarray(blocks.mask)
    return float(Gaussian.estimate(y, mask).sigma)
