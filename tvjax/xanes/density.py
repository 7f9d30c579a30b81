"""Optical density of the sample from counts."""

from functools import partial
from typing import NamedTuple

import jax
from jax import Array, numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Bool, Float, Real, Shaped

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
    """Optical density: the logarithm of the light F = f − d over the light behind.

        ln(F + var(f)/2F) − ln(S + var(s)/2S),   variance var(s)/S² + var(f)/F²

    with S = s − d. The logarithm of a noisy count is too small on average, by half its
    relative variance. No denoiser can remove this bias, but adding half a photon to the
    counts does. A pixel whose sample or flat does not exceed the dark has no density,
    and is marked as invalid. Below some five counts a bias remains, and the variance is
    too small.

    Args:
        sample: Counts s behind the sample.
        flat: Counts f without the sample. This and the following arguments may be a
            scalar, one value per energy (an I₀), one per pixel, or one for each value
            of `sample`.
        dark: Counts d without light; their own noise is left out.
        sample_variance: Variance of `sample`, in counts squared; by default that of
            photons, s.
        flat_variance: Variance of `flat`, in counts squared; by default f. The mean of
            n flats has f/n.
        mask: True where the counts are valid.

    Raises:
        ValueError: For an argument that does not fit the shape of `sample`.
    """
    count_energies("sample", sample)
    return _density(sample, flat, dark, sample_variance, flat_variance, mask)


@jax.jit
def _density(
    sample: Real[ArrayLike, " energy *pixels"],
    flat: Real[ArrayLike, "..."],
    dark: Real[ArrayLike, "..."],
    sample_variance: Real[ArrayLike, "..."] | None,
    flat_variance: Real[ArrayLike, "..."] | None,
    mask: Bool[ArrayLike, "..."] | None,
) -> Density:
    """The density, its variance and where there is one."""
    s = jnp.asarray(sample, float_type(sample))
    spread = partial(_spread, shape=s.shape, dtype=s.dtype)
    f, d = spread("flat", flat), spread("dark", dark)
    noise = s if sample_variance is None else sample_variance
    flat_noise = f if flat_variance is None else flat_variance
    behind, before = s - d, f - d
    valid = (behind > 0) & (before > 0) & jnp.isfinite(behind) & jnp.isfinite(before)
    if mask is not None:
        valid &= _spread("mask", mask, s.shape, bool)
    behind, before = (jnp.where(valid, counts, 1) for counts in (behind, before))
    s_variance = jnp.where(valid, spread("sample_variance", noise), 0)
    f_variance = jnp.where(valid, spread("flat_variance", flat_noise), 0)
    relative, flat_relative = s_variance / behind**2, f_variance / before**2
    variance = relative + flat_relative
    # where the noise is more than the light itself, the bias is not known
    lift, flat_lift = (jnp.minimum(v, 1) / 2 for v in (relative, flat_relative))
    ratio = before * (1 + flat_lift) / (behind * (1 + lift))
    valid &= (ratio > 0) & jnp.isfinite(ratio) & jnp.isfinite(variance)
    density = jnp.log(jnp.where(valid, ratio, 1))
    return Density(density, jnp.where(valid, variance, 0), valid)


def _spread(
    name: str, value: Shaped[ArrayLike, "..."], shape: tuple[int, ...], dtype: DTypeLike
) -> Shaped[Array, "..."]:
    """A value per energy, per pixel or for all, broadcast to the shape of the stack."""
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
