"""How noisy is the data?

A noise model says how the variance of a pixel follows from its expected value, in the
data's own unit, and estimates its parameters from the data:

    Gaussian            var = σ²
    Poisson             var = γ λ                 counts times a gain γ
    PoissonGaussian     var = γ (λ − offset) + σ²

The models are interchangeable: `variance(y)` at the *noisy* data is an unbiased
estimate of the variance (it may be negative where the read-out noise pulls a pixel
below the offset), at a denoised image it is the variance itself.
"""

from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jax import Array, core, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

Mask: TypeAlias = Bool[ArrayLike, "*stack height width"] | None

# The share of the blocks of a photograph that may be expected to hold no texture.
QUIET = 0.1
# A block of this size holds enough pixels for a variance and little structure.
BLOCK = 8
# Of choosing blocks by an estimate, and estimating from them.
ROUNDS = 5


class _Readable(eqx.Module):
    """A model whose text shows its numbers."""

    def __repr__(self) -> str:
        """The name and the parameters, the range of one that each pixel has its own."""
        numbers = ", ".join(f"{name}={_text(v)}" for name, v in vars(self).items())
        return f"{type(self).__name__}({numbers})"


def _text(value: Array) -> str:
    if isinstance(value, core.Tracer) or not jnp.ndim(value):
        return str(value) if isinstance(value, core.Tracer) else f"{value:.6g}"
    least, most = jnp.min(value), jnp.max(value)
    return f"[{least:.4g} to {most:.4g}, shape {jnp.shape(value)}]"


class Gaussian(_Readable):
    """White noise of standard deviation `sigma`, in the unit of the data."""

    sigma: Array

    def __init__(self, sigma: ArrayLike):
        """Take `sigma` ≥ 0, a scalar or one per pixel."""
        self.sigma = _non_negative("sigma", sigma)

    def variance(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """σ² in every pixel."""
        return jnp.broadcast_to(self.sigma.astype(y.dtype) ** 2, y.shape)

    @classmethod
    def estimate(
        cls,
        y: Float[ArrayLike, "*stack height width"],
        mask: Mask = None,
    ) -> "Gaussian":
        """σ from the mixed second differences of the quiet blocks.

        d = (y₀₀ − y₀₁ − y₁₀ + y₁₁)/2 has the variance of the noise and none of a
        plane's. Texture only adds to it, so the level is set by the quietest tenth of
        the blocks, allowing for their being chosen; those that agree are averaged.

        Args:
            y: One image, or images with the same noise.
            mask: True where a pixel is valid.
        """
        y, mask = _images(y, mask)
        return cls(jnp.sqrt(_quiet_variance(y, mask)))

    @classmethod
    def from_repeats(
        cls,
        y: Float[ArrayLike, "repeat height width"],
        mask: Mask = None,
    ) -> "Gaussian":
        """σ from repeated exposures of one scene, by the mean variance."""
        _, variance, valid = _moments(y, mask)
        return cls(jnp.sqrt(jnp.sum(jnp.where(valid, variance, 0)) / jnp.sum(valid)))


class Poisson(_Readable):
    """Photon counts times a gain: the variance is `gain` times the expected value."""

    gain: Array

    def __init__(self, gain: ArrayLike = 1.0):
        """Take `gain` > 0, in data units per photon; 1 for a counting detector."""
        self.gain = _non_negative("gain", gain)

    def variance(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """γ y."""
        return self.gain.astype(y.dtype) * y

    @classmethod
    def estimate(
        cls,
        y: Float[ArrayLike, "*stack height width"],
        mask: Mask = None,
    ) -> "Poisson":
        """γ = Σ variance / Σ mean over the darker half of the image's blocks.

        The variance of a block comes from its mixed differences, as for `Gaussian`. A
        block with a spot or an edge has far more than its mean allows and is left out;
        the ratio of sums, unlike a mean of ratios, is right also where most pixels
        have no count at all.
        """
        y, mask = _images(y, mask)
        return cls(_dark_gain(y, mask))

    @classmethod
    def from_repeats(
        cls,
        y: Float[ArrayLike, "repeat height width"],
        mask: Mask = None,
    ) -> "Poisson":
        """γ = Σ variance / Σ mean over the pixels of repeated exposures."""
        mean, variance, valid = _moments(y, mask)
        return cls(
            jnp.sum(jnp.where(valid, variance, 0)) / jnp.sum(jnp.where(valid, mean, 0))
        )


class PoissonGaussian(_Readable):
    """Counts times a gain on an offset, plus read-out noise of deviation `sigma`."""

    gain: Array
    sigma: Array
    offset: Array

    def __init__(self, gain: ArrayLike, sigma: ArrayLike, offset: ArrayLike = 0.0):
        """Take gain > 0, sigma ≥ 0 and the data's value at no light."""
        self.gain = _non_negative("gain", gain)
        self.sigma = _non_negative("sigma", sigma)
        self.offset = jnp.asarray(offset, dtype=float)

    def variance(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """γ (y − offset) + σ²."""
        gain, sigma, offset = (
            p.astype(y.dtype) for p in (self.gain, self.sigma, self.offset)
        )
        return gain * (y - offset) + sigma**2

    @classmethod
    def estimate(
        cls,
        y: Float[ArrayLike, "*stack height width"],
        mask: Mask = None,
        *,
        offset: float = 0.0,
    ) -> "PoissonGaussian":
        """Fit the line of variance against mean over blocks without structure.

        One image cannot tell an offset from read-out noise: give the offset.
        """
        y, mask = _images(y, mask)
        gain, floor = _dark_line(y - offset, mask)
        return cls(gain, jnp.sqrt(floor), offset)

    @classmethod
    def from_repeats(
        cls,
        y: Float[ArrayLike, "repeat height width"],
        mask: Mask = None,
        *,
        offset: float = 0.0,
    ) -> "PoissonGaussian":
        """Fit the line of variance against mean over repeated exposures."""
        mean, variance, valid = _moments(y, mask)
        count = jnp.full(mean.shape, jnp.shape(y)[0] - 1.0)
        pixels = Blocks(mean - offset, variance, count, valid)
        gain, floor = _line(pixels, valid)
        return cls(gain, jnp.sqrt(floor), offset)


Noise: TypeAlias = Gaussian | Poisson | PoissonGaussian


def describe_noise(noise: Noise) -> dict[str, Any]:
    """A noise model in types that JSON knows: its name as "model", its parameters."""
    parameters = {
        name: np.asarray(value).tolist() for name, value in vars(noise).items()
    }
    return {"model": type(noise).__name__, **parameters}


def estimate_noise(
    y: Float[ArrayLike, "*stack height width"], mask: Mask = None
) -> Noise:
    """The noise of data about which nothing is known but its type.

    Integers are counts times a gain, which is exactly one for a counting detector;
    floating point has white noise.

    Args:
        y: One image, or images with the same noise.
        mask: True where a pixel is valid.

    Raises:
        ValueError: For images of less than 2 x 2 pixels, or without a valid one.
    """
    if not jnp.issubdtype(jnp.asarray(y).dtype, jnp.integer):
        return Gaussian.estimate(y, mask)
    poisson = Poisson.estimate(y, mask)
    return Poisson(1.0) if abs(float(poisson.gain) - 1) < 0.1 else poisson


class Blocks(NamedTuple):
    """Mean and variance of the pixels of each block."""

    mean: Array
    variance: Array
    count: Array  # degrees of freedom in the variance
    valid: Array


def _non_negative(name: str, value: ArrayLike) -> Array:
    value = jnp.asarray(value, dtype=float)
    if not isinstance(value, core.Tracer) and not bool(jnp.all(value >= 0)):
        raise ValueError(f"`{name}` must not be negative, got {jnp.min(value)}.")
    return value


def _images(y: ArrayLike, mask: ArrayLike | None) -> tuple[Array, Array]:
    """Images (frame, y, x) in floating point and what of each is valid."""
    y = jnp.asarray(y)
    if y.ndim < 2 or min(y.shape[-2:]) < 2:
        raise ValueError(
            "the noise is estimated from neighboring pixels and needs images of at "
            f"least 2 x 2, got shape {y.shape}; give the noise model instead."
        )
    y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    mask = jnp.ones(y.shape, bool) if mask is None else jnp.asarray(mask, bool)
    mask = jnp.broadcast_to(mask, y.shape)
    if not isinstance(mask, core.Tracer) and not bool(jnp.any(mask)):
        raise ValueError("`mask` leaves no valid pixel to estimate the noise from.")
    y = jnp.where(mask, y, 0)
    return y.reshape(-1, *y.shape[-2:]), mask.reshape(-1, *y.shape[-2:])


@jax.jit
def _quiet_variance(y: Array, mask: Array) -> Array:
    """The variance of white noise, from the blocks without texture."""
    blocks = _block_moments(y, mask)
    lively = blocks.valid & (blocks.variance > 0)  # saturated blocks are not quiet
    quiet = jnp.nanquantile(
        jnp.where(lively, blocks.variance, jnp.nan), QUIET, method="lower"
    )
    squares = jnp.sum(jnp.where(lively, blocks.count, 0)) / jnp.sum(lively)
    variance = jnp.where(jnp.any(lively), quiet / _chi_square_quantile(squares), 0)

    def refine(_: int, variance: Array) -> Array:
        keep = lively & _plausible(blocks, 0, variance)
        weight = jnp.where(keep, blocks.count, 0)
        total = jnp.sum(weight)
        mean = jnp.sum(weight * blocks.variance) / jnp.maximum(total, 1)
        return jnp.where(total > 0, mean, variance)

    return lax.fori_loop(0, ROUNDS, refine, variance)


@jax.jit
def _dark_gain(y: Array, mask: Array) -> Array:
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
def _dark_line(y: Array, mask: Array) -> tuple[Array, Array]:
    """Gain and variance at no light, from all but the brightest blocks."""
    blocks = _block_moments(y, mask)
    dark = _darkest(blocks, 0.9)
    gain = _typical_ratio(blocks, dark)
    return lax.fori_loop(
        0,
        ROUNDS,
        lambda _, line: _line(blocks, dark & _plausible(blocks, *line)),
        (gain, jnp.zeros_like(gain)),
    )


def _mixed_differences(y: Array, mask: Array) -> tuple[Array, Array]:
    """(y₀₀ − y₀₁ − y₁₀ + y₁₁)/2 of disjoint 2 x 2 squares, and where all four exist."""
    corners = [(i, j) for i in (0, 1) for j in (0, 1)]
    height, width = (size // 2 * 2 for size in y.shape[1:])

    def at(z: Array, i: int, j: int) -> Array:
        return z[:, i:height:2, j:width:2]

    d = sum((-1) ** (i + j) * at(y, i, j) for i, j in corners) / 2
    valid = jnp.stack([at(mask, i, j) for i, j in corners]).all(0)
    return d, valid


def _block_moments(y: Array, mask: Array) -> Blocks:
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
    return Blocks(sums(mean) / full, sums(d**2) / full, count, count > side**2 / 2)


def _moments(y: ArrayLike, mask: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Mean and variance of each pixel over repeated exposures."""
    y, mask = _images(y, mask)
    if len(y) < 2:
        raise ValueError(f"repeats need at least two exposures, got {len(y)}.")
    return y.mean(0), y.var(0, ddof=1), mask.all(0)


def _plausible(blocks: Blocks, gain: Array, floor: Array | float) -> Array:
    """Blocks whose variance pure noise reaches, at 4 standard deviations.

    The variance of a sample variance of k squares of Poisson counts, mixed of 4:
    (2 var² + γ² var/4) / k.
    """
    expected = gain * jnp.maximum(blocks.mean, 0) + floor
    spread = jnp.sqrt((2 * expected**2 + gain**2 * expected / 4) / blocks.count)
    return blocks.variance <= expected + 4 * spread


def _darkest(blocks: Blocks, share: float) -> Array:
    """The blocks up to a quantile of the means of those that have any signal.

    Spots are rare there, and choosing by the mean does not bias the variance: given
    the sum of Poisson counts, the expected variance within the block is their mean.
    """
    lit = blocks.valid & (blocks.mean > 0)
    means = jnp.where(lit, blocks.mean, jnp.nan)
    limit = jnp.where(jnp.any(lit), jnp.nanquantile(means, share), jnp.inf)
    return blocks.valid & (blocks.mean <= limit)


def _typical_ratio(blocks: Blocks, keep: Array) -> Array:
    """The median of variance over mean: what structure is left does not move it."""
    lit = keep & (blocks.mean > 0)
    ratio = blocks.variance / jnp.where(lit, blocks.mean, 1)
    return jnp.where(jnp.any(lit), _masked_median(ratio, lit), 1)


def _ratio(blocks: Blocks, keep: Array) -> Array:
    weight = jnp.where(keep, blocks.count, 0)
    total = jnp.sum(weight * blocks.mean)
    positive = total > 0
    ratio = jnp.sum(weight * blocks.variance) / jnp.where(positive, total, 1)
    return jnp.where(positive, ratio, 1)


def _line(blocks: Blocks, keep: Array) -> tuple[Array, Array]:
    """Slope and intercept ≥ 0 of variance against mean, weighted by its precision."""
    weight = jnp.where(keep, blocks.count, 0)
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


def _chi_square_quantile(count: Array) -> Array:
    """The quantile `QUIET` of a mean of `count` squares of unit normals.

    Wilson and Hilferty 1931 (10.1073/pnas.17.12.684).
    """
    normal_quantile = -1.2816
    spread = 2 / (9 * count)
    return (1 - spread + normal_quantile * jnp.sqrt(spread)) ** 3


def _masked_median(values: Array, valid: Array) -> Array:
    """The median of the valid values; enough of them, evenly spaced, where many."""
    step = max(1, values.size // 1_000_000)
    values = values.reshape(-1)[::step]
    return jnp.nanmedian(jnp.where(valid.reshape(-1)[::step], values, jnp.nan))
