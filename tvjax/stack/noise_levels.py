"""How noisy is a stack at each energy, by its own testimony?

Texture, which an estimate from one image takes for noise, is common to the energies:
what is left when their common subspace is taken out has none.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tvjax.denoisers.subspace import Basis
from tvjax.stack.random_matrix import independent_rows, noise_edge, noise_level

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
        inside = vectors[:, :rank] ** 2
        rest = np.diagonal(whitened) - inside @ values[:rank] ** 2
        share = np.maximum(1 - inside.sum(axis=1), 1 / size)
        sigma = sigma * np.sqrt(np.maximum(rest, 0) / (share * (num_pixels - rank)))
    return Levels(sigma, num_independent)


def num_above_noise(
    values: Float[np.ndarray, " value"], shape: tuple[float, int]
) -> int:
    """How many singular values are more than unit noise can have."""
    return int(np.sum(values > noise_edge(shape, CLEAR)))
