"""Noise of a stack at each energy, from the stack itself.

An estimate from a single image takes texture for noise. But texture is common to the
energies: once the subspace that they share is taken out, only noise is left.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tvjax.stack.random_matrix import (
    independent_rows,
    largest_noise_value,
    noise_level,
)

# A component is clear if its singular value exceeds the largest of noise by this many
# units of the scatter of that: one or two for chance, and more because the noise level
# is itself estimated.
CLEAR = 3.0
# The levels are estimated twice: the second time, signal is told from noise by the
# levels of the first.
ROUNDS = 2


class TemporalBasis(NamedTuple):
    """Singular vectors of a stack along the energies, in double precision."""

    vectors: Float[np.ndarray, "energy value"]  # orthonormal columns, leading first
    values: Float[np.ndarray, " value"]  # singular values of the stack, descending


def temporal_basis_of(gram: Float[np.ndarray, "energy energy"]) -> TemporalBasis:
    """The temporal basis of a stack from its Gram matrix.

    `tvjax.denoisers.subspace.temporal_basis` finds the same from the stack itself.
    """
    squares, vectors = np.linalg.eigh(gram)
    values = np.sqrt(np.maximum(squares[::-1], 0))
    return TemporalBasis(with_signs(vectors[:, ::-1]), values)


def with_signs(
    vectors: Float[np.ndarray, "energy value"],
) -> Float[np.ndarray, "energy value"]:
    """The vectors with their entry of greatest magnitude positive."""
    greatest = np.argmax(np.abs(vectors), axis=0)
    return vectors * np.sign(vectors[greatest, np.arange(vectors.shape[1])])


class NoiseLevels(NamedTuple):
    """How noisy a stack is."""

    sigma: Float[np.ndarray, " energy"]  # standard deviation, in the unit of the data
    num_independent: float  # as many pixels of white noise would tell as much


def noise_levels(
    gram: Float[np.ndarray, "energy energy"], num_pixels: int
) -> NoiseLevels:
    """The standard deviation of the noise at each energy, from the Gram matrix alone.

    First it is taken as what no combination of the other energies predicts of an
    energy, which is read from the inverse of the Gram matrix, whatever the levels of
    the others. That is a little too much, since the others are noisy themselves. Then
    the stack is divided by these levels, and the components above the noise are taken
    out; what remains has the variance, less the share of the subspace.

    Args:
        gram: YᵀY of the stack, sums over its valid pixels.
        num_pixels: Number of valid pixels, more than energies.
    """
    size = len(gram)
    shape = (num_pixels, size)
    tiny = np.finfo(float).eps * np.trace(gram)
    freedom = max(num_pixels - size + 1, 1)
    inverse = np.linalg.inv(gram + tiny * np.eye(size))
    # where there is no noise at all, the rounding of these sums is left
    least = np.finfo(float).eps * np.sqrt(np.diagonal(gram) / num_pixels)
    sigma = np.maximum(1 / np.sqrt(np.diagonal(inverse) * freedom), least)
    num_independent = float(num_pixels)
    for _ in range(ROUNDS):
        whitened = gram / np.outer(sigma, sigma)
        vectors, values = temporal_basis_of(whitened)
        num_independent = independent_rows(values, shape)
        # as so many pixels would have them
        fewer = values * (num_independent / num_pixels) ** 0.5
        level = noise_level(fewer, (num_independent, size))
        rank = min(num_above_noise(fewer / level, (num_independent, size)), size // 2)
        inside = vectors[:, :rank] ** 2
        rest = np.diagonal(whitened) - inside @ values[:rank] ** 2
        share = np.maximum(1 - inside.sum(axis=1), 1 / size)
        sigma = sigma * np.sqrt(np.maximum(rest, 0) / (share * (num_pixels - rank)))
        sigma = np.maximum(sigma, least)
    return NoiseLevels(sigma, num_independent)


def num_above_noise(
    values: Float[np.ndarray, " value"], shape: tuple[float, float]
) -> int:
    """How many singular values are more than unit noise can have.

    Args:
        values: Singular values of a matrix.
        shape: Rows and columns of the matrix.
    """
    return int(np.sum(values > largest_noise_value(shape, CLEAR)))
