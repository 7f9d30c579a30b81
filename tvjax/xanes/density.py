"""How much light did the sample take away?"""

from functools import partial
from typing import NamedTuple

import jax
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from tvjax.xanes.columns import count_energies, float_type


class Density(NamedTuple):
    """Optical density with its variance, and where there is one."""

    density: Float[Array, " energy *pixels"]
    variance: Float[Array, " energy *pixels"]
    mask: Bool[Array, " energy *pixels"]


def optical_density(
    sample: Real[ArrayLike, " energy *pixels"],
    flat: Real[ArrayLike, "..."],
    *,
    dark: Real[ArrayLike, "..."] = 0.0,
    sample_variance: Real[ArrayLike, "..."] | None = None,
    flat_variance: Real[ArrayLike, "..."] | None = None,
    mask: Bool[ArrayLike, "..."] | None = None,
) -> Density:
    """The logarithm of the light F = f − d over the light S = s − d, without its bias.

        ln(F + var(f)/2F) − ln(S + var(s)/2S),   variance var(s)/S² + var(f)/F²

    The logarithm of a noisy count is too small on average, by half its relative
    variance, which no denoiser takes out: half a photon, added before, does. A pixel
    whose sample or flat does not exceed the dark has no density: it is marked as
    invalid. Below some five counts a bias remains, and the variance is too small.

    Args:
        sample: Counts behind the sample, s.
        flat: Counts without the sample, f. This and what follows may be a scalar, one
            value per energy (an I₀), one per pixel, or one for each value of `sample`.
        dark: Counts without light, d; its own noise is left out.
        sample_variance: Of `sample`, in counts squared; by default that of photons, s.
        flat_variance: Of `flat`; by default f. The mean of n flats has f/n.
        mask: True where the counts are valid.

    Raises:
        ValueError: For an argument that does not fit the shape of `sample`.
    """
    count_energies("sample", sample)
    return _density(sample, flat, dark, sample_variance, flat_variance, mask)


@jax.jit
def _density(sample, flat, dark, sample_variance, flat_variance, mask):
    sample = jnp.asarray(sample, float_type(sample))
    spread = partial(_spread, shape=sample.shape, dtype=sample.dtype)
    flat, dark = spread("flat", flat), spread("dark", dark)
    noise = sample if sample_variance is None else sample_variance
    flat_noise = flat if flat_variance is None else flat_variance
    behind, before = sample - dark, flat - dark
    valid = (behind > 0) & (before > 0) & jnp.isfinite(behind) & jnp.isfinite(before)
    if mask is not None:
        valid &= _spread("mask", mask, sample.shape, bool)
    behind, before = (jnp.where(valid, counts, 1) for counts in (behind, before))
    noise, flat_noise = (
        jnp.where(valid, spread(name, value), 0)
        for name, value in (("sample_variance", noise), ("flat_variance", flat_noise))
    )
    relative, flat_relative = noise / behind**2, flat_noise / before**2
    variance = relative + flat_relative
    # where the noise is more than the light itself, nothing is known of the bias
    lift, flat_lift = (jnp.minimum(v, 1) / 2 for v in (relative, flat_relative))
    ratio = before * (1 + flat_lift) / (behind * (1 + lift))
    valid &= (ratio > 0) & jnp.isfinite(ratio) & jnp.isfinite(variance)
    density = jnp.log(jnp.where(valid, ratio, 1))
    return Density(density, jnp.where(valid, variance, 0), valid)


def _spread(name, value, shape, dtype):
    """A value per energy, per pixel or for all as one for each sample."""
    value = jnp.asarray(value, dtype)
    if value.shape not in ((), shape[:1], shape[1:], shape):
        raise ValueError(
            f"`{name}` must be a scalar or have one value per energy, pixel or both, "
            f"of {shape}, got shape {value.shape}."
        )
    if value.shape == shape[:1]:
        value = value.reshape(-1, *(1,) * (len(shape) - 1))
    elif value.shape == shape[1:]:
        value = value[None]
    return jnp.broadcast_to(value, shape)
