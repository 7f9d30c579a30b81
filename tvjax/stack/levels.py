"""How noisy is a stack at each energy, and where, by its own testimony?

Texture, which an estimate from one image takes for noise, is common to the energies:
what is left when their common subspace is taken out has none.
"""

from typing import NamedTuple

import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float

from tvjax.denoisers.subspace import Basis
from tvjax.operators import local_mean
from tvjax.singular import independent_rows, noise_edge, noise_level

# Of the variance: what differs less over the frame is taken as the same everywhere.
EVEN = 0.1
# Scales of Tracy and Widom beyond the edge of the noise: one for chance, and more for a
# noise level that is estimated.
CLEAR = 3.0
# The second has the levels of the first to tell signal from noise by.
ROUNDS = 2


def temporal_basis_of(gram: Float[np.ndarray, "energy energy"]) -> Basis:
    """The temporal basis of a stack, of its Gram matrix, in double precision.

    As `tvjax.denoisers.subspace.temporal_basis` has it of the stack itself.
    """
    squares, vectors = np.linalg.eigh(gram)
    values = np.sqrt(np.maximum(squares[::-1], 0))
    return Basis(with_signs(vectors[:, ::-1]), values)


def with_signs(
    vectors: Float[np.ndarray, "energy value"],
) -> Float[np.ndarray, "energy value"]:
    """The vectors with their entry of greatest magnitude positive."""
    greatest = np.argmax(np.abs(vectors), axis=0)
    return vectors * np.sign(vectors[greatest, np.arange(vectors.shape[1])])


class Levels(NamedTuple):
    """How noisy a stack is."""

    sigma: Float[np.ndarray, " energy"]
    num_independent: float  # as many pixels of white noise would tell as much


def noise_levels(gram: Float[np.ndarray, "energy energy"], num_pixels: int) -> Levels:
    """The standard deviation of the noise at each energy, from the Gram matrix alone.

    First, what no combination of the other energies tells of an energy: as the inverse
    of the Gram matrix has it, whatever the levels of the others, and a little too much,
    since they are noisy themselves. Then, with the stack whitened by that, the
    components above the noise are taken out; what remains has the variance, less the
    subspace's share.
    """
    size = len(gram)
    shape = (num_pixels, size)
    tiny = np.finfo(float).eps * np.trace(gram)
    freedom = max(num_pixels - size + 1, 1)
    inverse = np.linalg.inv(gram + tiny * np.eye(size))
    sigma = 1 / np.sqrt(np.diagonal(inverse) * freedom)
    for _ in range(ROUNDS):
        whitened = gram / np.outer(sigma, sigma)
        vectors, values = temporal_basis_of(whitened)
        num_independent = independent_rows(values, shape)
        # as so many pixels would have them
        fewer = values * (num_independent / num_pixels) ** 0.5
        level = float(noise_level(fewer, (num_independent, size)))
        rank = min(num_above_noise(fewer / level, (num_independent, size)), size // 2)
        outside = np.eye(size) - vectors[:, :rank] @ vectors[:, :rank].T
        rest = np.einsum("ti,ij,tj->t", outside, whitened, outside)
        share = np.maximum(np.diagonal(outside), 1 / size)
        sigma = sigma * np.sqrt(np.maximum(rest, 0) / (share * (num_pixels - rank)))
    return Levels(sigma, num_independent)


def num_above_noise(
    values: Float[np.ndarray, " value"], shape: tuple[float, int]
) -> int:
    """How many singular values are more than unit noise can have."""
    return int(np.sum(values > noise_edge(shape, CLEAR)))


def uneven_variance(
    images: Float[np.ndarray, "component y x"],
    power: Float[np.ndarray, "y x"],
    num_energies: int,
    mask: Bool[np.ndarray, "y x"] | None,
    independent: float = 1.0,
) -> Float[np.ndarray, "y x"] | None:
    """The variance of the noise over the frame, mean 1; None where it is even.

    The power of each pixel outside the subspace, over the energies that are left,
    averaged over a neighborhood.

    Args:
        images: Coefficient images of the whitened stack, all that hold signal.
        power: Of each pixel of the whitened stack, Σ_t ỹ_t².
        num_energies: Of the stack.
        mask: True where a pixel is valid.
        independent: Share of the pixels whose noise is independent.
    """
    left = num_energies - len(images)
    if left < 1:
        return None
    rest = (power - np.sum(images**2, axis=0)) / left
    valid = None if mask is None else jnp.asarray(mask)[None]
    variance = np.asarray(local_mean(jnp.asarray(rest)[None], valid)[0])
    variance = variance / np.mean(variance, where=True if mask is None else mask)
    # white noise itself scatters by this much in a square of nine pixels
    scatter = (2 / (left * 81 * independent)) ** 0.5
    if np.std(variance, where=True if mask is None else mask) < max(EVEN, 3 * scatter):
        return None
    return np.maximum(variance, EVEN)
