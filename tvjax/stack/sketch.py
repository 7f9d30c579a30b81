"""Leading components of a stack of very many energies, without its Gram matrix.

A random subspace is turned towards the leading one by multiplying it with the Gram
matrix. Each multiplication takes a pass over the stack, and its cost is that of the few
dimensions of the subspace, not that of all energies (Halko, Martinsson, Tropp 2011,
10.1137/090771806). The other singular values are noise, whose distribution is known.
"""

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from tvjax.noise import Noise
from tvjax.stack.blocks import Blocks, check_power, variances_of
from tvjax.stack.noise_levels import num_above_noise, TemporalBasis, with_signs
from tvjax.stack.random_matrix import singular_values_of_noise

# Dimensions of the subspace. A stack that needs nearly as many has no low rank.
SIZE = 64
# Two passes turn the subspace towards the leading components; two more do so with every
# energy divided by its noise level.
NUM_PASSES = 4


def sketch(
    blocks: Blocks, noise: Noise | None, key: PRNGKeyArray
) -> tuple[Float[np.ndarray, " energy"], TemporalBasis]:
    """The noise level of each energy, and the leading part of the temporal basis.

    Raises:
        ValueError: A frame is not finite or zero, or the stack has no low rank.
    """
    size = blocks.num_energies
    seed = int(jax.random.bits(key))
    subspace = np.random.default_rng(seed).normal(size=(size, SIZE))
    power, variance, turned = _multiply(blocks, subspace, noise)
    check_power(power)
    if noise is not None:
        sigma = np.sqrt(np.maximum(variance, np.finfo(float).tiny))
        _, turned = _ritz(blocks, turned / sigma[:, None], sigma, power)
    else:
        sigma = np.sqrt(power / blocks.num_valid)  # all the power there is
        found, turned = _ritz(blocks, turned / sigma[:, None], sigma, power)
        factor = _outside(found, SIZE, power / sigma**2, blocks.num_valid)
        sigma, turned = sigma * factor, turned / factor[:, None]
    found, turned = _ritz(blocks, turned, sigma, power)
    if noise is None:
        rank = num_above_noise(found.values[:SIZE], (blocks.num_valid, size))
        factor = _outside(found, rank, power / sigma**2, blocks.num_valid)
        sigma, turned = sigma * factor, turned / factor[:, None]
    found, _ = _ritz(blocks, turned, sigma, power)
    if num_above_noise(found.values, (blocks.num_valid, size)) > SIZE - 8:
        raise ValueError(
            f"the stack has more than {SIZE - 8} components above its noise, which is "
            "no low rank: register it, or check the noise model."
        )
    return sigma, found


def _multiply(
    blocks: Blocks,
    subspace: Float[np.ndarray, "energy size"],
    noise: Noise | None,
) -> tuple[
    Float[np.ndarray, " energy"],
    Float[np.ndarray, " energy"],
    Float[np.ndarray, "energy size"],
]:
    """Σ y², the mean variance of each energy, and YᵀY times the subspace."""
    power, variance = np.zeros((2, blocks.num_energies))
    turned = np.zeros_like(subspace)
    narrow = subspace.astype(blocks.dtype)
    for rows, block in blocks.read():
        turned += block @ (block.T @ narrow)
        power += np.einsum("tp,tp->t", block, block, dtype=float)
        if noise is not None:
            variance += variances_of(noise, block, rows, blocks).sum(axis=1)
    return power, variance / blocks.num_valid, turned


def _ritz(
    blocks: Blocks,
    subspace: Float[np.ndarray, "energy size"],
    sigma: Float[np.ndarray, " energy"],
    power: Float[np.ndarray, " energy"],
) -> tuple[TemporalBasis, Float[np.ndarray, "energy size"]]:
    """The best components within a subspace, and the Gram matrix times the subspace.

    Both are those of the stack divided by `sigma`. The singular values beyond the
    subspace are taken as those of noise that has the power left.
    """
    basis, _ = np.linalg.qr(subspace)
    _, _, turned = _multiply(blocks, basis / sigma[:, None], None)
    turned /= sigma[:, None]
    squares, rotation = np.linalg.eigh(basis.T @ turned)
    vectors = with_signs(basis @ rotation[:, ::-1])
    leading = np.maximum(squares[::-1], 0)
    shape = (blocks.num_valid, blocks.num_energies)
    clear = num_above_noise(np.sqrt(leading), shape)
    rest = singular_values_of_noise(shape, min(shape) - clear)[SIZE - clear :] ** 2
    rest *= max(np.sum(power / sigma**2) - np.sum(leading), 0) / np.sum(rest)
    values = np.sqrt(np.concatenate([leading, rest]))
    return TemporalBasis(vectors, values), turned


def _outside(
    found: TemporalBasis,
    rank: int,
    power: Float[np.ndarray, " energy"],
    num_pixels: int,
) -> Float[np.ndarray, " energy"]:
    """The standard deviation that each energy has outside the leading components."""
    vectors, values = found.vectors[:, :rank], found.values[:rank]
    rest = power - np.sum((vectors * values) ** 2, axis=1)
    share = np.maximum(1 - np.sum(vectors**2, axis=1), 1 / len(power))
    tiny = np.finfo(float).tiny
    return np.sqrt(np.maximum(rest, tiny) / (share * (num_pixels - rank)))
