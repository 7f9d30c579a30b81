"""Variances against means, of blocks of pixels without structure and of repeats.

The parameters of a noise model are read off them. Texture, edges and spots only add to
the variance of a block: those that have more than noise can have are left out.
"""

from typing import NamedTuple, TypeAlias

import jax
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from tvjax.arguments import as_floating, as_full_mask, is_traced

# One mask for all images, or one for each.
Mask: TypeAlias = Bool[ArrayLike, "*frames height width"] | None

# The share of the blocks of a photograph that may be expected to hold no texture.
QUIET = 0.1
# The quantile `QUIET` of a unit normal.
QUIET_NORMAL = -1.2816
# Side of a block in pixels: it holds enough of them for a variance, and little
# structure.
BLOCK = 8
# How often blocks are chosen by an estimate and give the next one; it settles in three
# or four rounds.
ROUNDS = 5


class BlockMoments(NamedTuple):
    """Mean and variance of the pixels of each block, or of the repeats of each pixel.

    Attributes:
        mean: Mean of each block.
        variance: Its variance.
        freedom: Degrees of freedom in that variance.
        valid: True where enough pixels of the block are.
    """

    mean: Float[Array, "*block"]
    variance: Float[Array, "*block"]
    freedom: Float[Array, "*block"]
    valid: Bool[Array, "*block"]


def as_images(
    y: Num[ArrayLike, "*stack height width"], mask: Mask
) -> tuple[Float[Array, "frame height width"], Bool[Array, "frame height width"]]:
    """Images in floating point, zero where invalid, and what of each is valid."""
    shape = jnp.shape(y)
    if len(shape) < 2 or min(shape[-2:]) < 2:
        raise ValueError(
            "the noise is estimated from neighboring pixels and needs images of at "
            f"least 2 x 2, got shape {shape}; give the noise model instead."
        )
    images = as_floating(y)
    valid = as_full_mask(mask, shape, shape[-2:])
    if not is_traced(valid) and not bool(jnp.any(valid)):
        raise ValueError("`mask` leaves no valid pixel to estimate the noise from.")
    images = jnp.where(valid, images, 0)
    return images.reshape(-1, *shape[-2:]), valid.reshape(-1, *shape[-2:])


def moments_of_repeats(
    y: Num[ArrayLike, "repeat height width"], mask: Mask
) -> tuple[
    Float[Array, "height width"],
    Float[Array, "height width"],
    Bool[Array, "height width"],
]:
    """Mean and variance of each pixel over repeated exposures, and what is valid."""
    images, valid = as_images(y, mask)
    if len(images) < 2:
        raise ValueError(f"repeats need at least two exposures, got {len(images)}.")
    return images.mean(0), images.var(0, ddof=1), valid.all(0)


@jax.jit
def quiet_variance(
    y: Float[Array, "frame height width"], mask: Bool[Array, "frame height width"]
) -> Float[Array, ""]:
    """The variance of white noise, from the blocks without texture."""
    blocks = _block_moments(y, mask)
    lively = blocks.valid & (blocks.variance > 0)  # saturated blocks are not quiet
    quiet = jnp.nanquantile(
        jnp.where(lively, blocks.variance, jnp.nan), QUIET, method="lower"
    )
    squares = jnp.sum(jnp.where(lively, blocks.freedom, 0)) / jnp.sum(lively)
    variance = jnp.where(jnp.any(lively), quiet / _chi_square_quantile(squares), 0)

    def refine(_: Int[Array, ""], variance: Float[Array, ""]) -> Float[Array, ""]:
        keep = lively & _plausible(blocks, 0, variance)
        weight = jnp.where(keep, blocks.freedom, 0)
        total = jnp.sum(weight)
        mean = jnp.sum(weight * blocks.variance) / jnp.maximum(total, 1)
        return jnp.where(total > 0, mean, variance)

    return lax.fori_loop(0, ROUNDS, refine, variance)


@jax.jit
def dark_gain(
    y: Float[Array, "frame height width"], mask: Bool[Array, "frame height width"]
) -> Float[Array, ""]:
    """The gain of counts, from the darker blocks."""
    blocks = _block_moments(y, mask)
    dark = _darkest(blocks, 0.5)
    return lax.fori_loop(
        0,
        ROUNDS,
        lambda _, gain: _ratio(blocks, dark & _plausible(blocks, gain, 0)),
        _typical_ratio(blocks, dark),
    )


@jax.jit
def dark_line(
    y: Float[Array, "frame height width"], mask: Bool[Array, "frame height width"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Gain and variance at no light, from all but the brightest blocks."""
    blocks = _block_moments(y, mask)
    dark = _darkest(blocks, 0.9)
    gain = _typical_ratio(blocks, dark)
    return lax.fori_loop(
        0,
        ROUNDS,
        lambda _, line: variance_line(blocks, dark & _plausible(blocks, *line)),
        (gain, jnp.zeros_like(gain)),
    )


def _mixed_differences(
    y: Float[Array, "frame height width"], mask: Bool[Array, "frame height width"]
) -> tuple[Float[Array, "frame row column"], Bool[Array, "frame row column"]]:
    """(y₀₀ − y₀₁ − y₁₀ + y₁₁)/2 of disjoint 2 x 2 squares, and where all four exist."""
    corners = [(i, j) for i in (0, 1) for j in (0, 1)]
    height, width = (size // 2 * 2 for size in y.shape[1:])

    def at(z: Array, i: int, j: int) -> Array:
        return z[:, i:height:2, j:width:2]

    signed = jnp.stack([(-1) ** (i + j) * at(y, i, j) for i, j in corners])
    valid = jnp.stack([at(mask, i, j) for i, j in corners]).all(0)
    return signed.sum(0) / 2, valid


def _block_moments(
    y: Float[Array, "frame height width"], mask: Bool[Array, "frame height width"]
) -> BlockMoments:
    """Mean and variance in blocks of at most 8 x 8 pixels, as flat arrays."""
    d, square = _mixed_differences(y, mask)
    height, width = (size // 2 * 2 for size in y.shape[1:])
    frames = y[:, :height, :width].reshape(len(y), height // 2, 2, width // 2, 2)
    mean = frames.mean((2, 4))
    side = min(BLOCK // 2, *d.shape[1:])
    rows, columns = (size // side for size in d.shape[1:])

    def sums(z: Array) -> Array:
        z = jnp.where(square, z, 0)[:, : rows * side, : columns * side]
        return z.reshape(len(y), rows, side, columns, side).sum((2, 4)).reshape(-1)

    count = sums(jnp.ones_like(d))
    full = jnp.maximum(count, 1)
    return BlockMoments(
        sums(mean) / full, sums(d**2) / full, count, count > side**2 / 2
    )


def _plausible(
    blocks: BlockMoments,
    gain: Float[Array, ""] | float,
    floor: Float[Array, ""] | float,
) -> Bool[Array, "*block"]:
    """Blocks whose variance pure noise reaches, at 4 standard deviations.

    The variance of the mean of k squared mixed differences of Poisson counts is
    (2 var² + γ² var/4) / k, as each mixes four pixels.
    """
    expected = gain * jnp.maximum(blocks.mean, 0) + floor
    spread = jnp.sqrt((2 * expected**2 + gain**2 * expected / 4) / blocks.freedom)
    return blocks.variance <= expected + 4 * spread


def _darkest(blocks: BlockMoments, share: float) -> Bool[Array, "*block"]:
    """The blocks up to a quantile of the means of those that have any signal.

    Spots are rare there, and choosing by the mean does not bias the variance: given
    the sum of Poisson counts, the expected variance within the block is their mean.
    """
    lit = blocks.valid & (blocks.mean > 0)
    means = jnp.where(lit, blocks.mean, jnp.nan)
    limit = jnp.where(jnp.any(lit), jnp.nanquantile(means, share), jnp.inf)
    return blocks.valid & (blocks.mean <= limit)


def _typical_ratio(
    blocks: BlockMoments, keep: Bool[Array, "*block"]
) -> Float[Array, ""]:
    """The median of variance over mean: what structure is left does not move it."""
    lit = keep & (blocks.mean > 0)
    ratio = blocks.variance / jnp.where(lit, blocks.mean, 1)
    return jnp.where(jnp.any(lit), _masked_median(ratio, lit), 1.0)


def _ratio(blocks: BlockMoments, keep: Bool[Array, "*block"]) -> Float[Array, ""]:
    """Σ variance / Σ mean."""
    weight = jnp.where(keep, blocks.freedom, 0)
    total = jnp.sum(weight * blocks.mean)
    positive = total > 0
    ratio = jnp.sum(weight * blocks.variance) / jnp.where(positive, total, 1)
    return jnp.where(positive, ratio, 1)


def variance_line(
    blocks: BlockMoments, keep: Bool[Array, "*block"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Slope and intercept ≥ 0 of variance against mean, weighted by its precision."""
    weight = jnp.where(keep, blocks.freedom, 0)
    typical = jnp.sum(weight * blocks.variance) / jnp.sum(weight)
    scale = jnp.maximum(jnp.sum(weight * jnp.abs(blocks.mean)) / jnp.sum(weight), 1e-12)
    weight = weight / (typical * (1 + jnp.maximum(blocks.mean, 0) / scale)) ** 2
    total = jnp.sum(weight)
    mean = jnp.sum(weight * blocks.mean) / total
    variance = jnp.sum(weight * blocks.variance) / total
    off = blocks.mean - mean
    slope = jnp.sum(weight * off * (blocks.variance - variance)) / jnp.sum(
        weight * off**2
    )
    slope = jnp.clip(slope, 0, variance / jnp.maximum(mean, 1e-12))
    return slope, jnp.maximum(variance - slope * mean, 0)


def _chi_square_quantile(count: Float[Array, ""]) -> Float[Array, ""]:
    """The quantile `QUIET` of a mean of `count` squares of unit normals.

    Wilson and Hilferty 1931 (10.1073/pnas.17.12.684).
    """
    spread = 2 / (9 * count)
    return (1 - spread + QUIET_NORMAL * jnp.sqrt(spread)) ** 3


def _masked_median(
    values: Float[Array, "*block"], valid: Bool[Array, "*block"]
) -> Float[Array, ""]:
    """The median of the valid values; of a million of them, evenly spaced, if more."""
    step = max(1, values.size // 1_000_000)
    values = values.reshape(-1)[::step]
    return jnp.nanmedian(jnp.where(valid.reshape(-1)[::step], values, jnp.nan))
