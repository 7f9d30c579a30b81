"""What a pixel counts in a risk: one over the variance that its noise has."""

from functools import partial
from typing import Literal

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.filters import box_sum
from tvjax.noise import Noise

Weights = Literal["uniform", "variance"]

# Sides of the squares over which a pixel's expected value is averaged, the widest
# first. The narrowest that holds enough counts is taken, so that a spot weighs by its
# own noise and an empty background by that of many pixels.
SIDES = (27, 9, 3)
# So many counts make a mean that is known to a fifth, enough for a weight.
ENOUGH = 25.0
# Fewer counts do where they are so many more than the wider mean has there, besides
# `FAR` deviations: a weak spot on an empty background.
MORE = 4.0
# A value further than so many deviations above the wider mean does not enter the next
# narrower one: a bright spot shall not stand for the field around it.
FAR = 5.0
# No variance counts as less than this share of the typical one: in the shadow of a beam
# stop a single stray photon would otherwise outweigh a whole field.
LEAST = 0.5
# Rounds in which the mean of everything settles without what is far above it.
ROUNDS = 4


@eqx.filter_jit
def inverse_variance(
    y: Float[Array, "image height width"],
    noise: Noise,
    mask: Bool[Array, "image height width"] | None,
) -> Float[Array, "image height width"]:
    """One over the variance of each pixel, zero where invalid.

    Where a risk is judged by held-out data, `y` must be the part that the denoiser
    sees. A weight that has seen the photons that judge is small just where one fell,
    and the risk is then biased towards the strength that keeps single photons.

    Args:
        y: The data that set the weights.
        noise: Noise model.
        mask: True where a pixel is valid.
    """
    valid = jnp.ones(y.shape, bool) if mask is None else mask
    gain = getattr(noise, "gain", None)
    variance = noise.variance(y) if gain is None else _steady(y, noise, gain, valid)
    positive = valid & (variance > 0)
    return jnp.where(positive, 1 / jnp.where(positive, variance, 1), 0)


def _steady(
    y: Float[Array, "image height width"],
    noise: Noise,
    gain: Array,
    valid: Bool[Array, "image height width"],
) -> Float[Array, "image height width"]:
    """The variance at the mean over as many pixels around each as hold enough counts.

    A mean of n pixels leaves their variance v known to γ/√(n v).
    """
    share = valid.astype(y.dtype)
    y = jnp.where(valid, y, 0)

    def variance_at(mean: Array) -> Array:
        return jnp.maximum(noise.variance(mean), 0)

    def cut(mean: Array) -> Array:
        # one count more: where none is expected, one is no outlier
        reach = FAR * jnp.sqrt(variance_at(mean) + gain**2)
        return jnp.minimum(y, mean + reach)

    total = jnp.maximum(jnp.sum(share), 1)
    mean = jnp.full(y.shape, jnp.sum(y) / total)
    for _ in range(ROUNDS):
        mean = jnp.full(y.shape, jnp.sum(share * cut(mean)) / total)
    variance = variance_at(mean)
    floor = LEAST * variance
    for side in SIDES:
        around = y if side == SIDES[-1] else share * cut(mean)
        total_of = jax.vmap(partial(box_sum, side=side))
        number = total_of(share)
        local = total_of(around) / jnp.maximum(number, 1)
        candidate = variance_at(local)
        enough = number * candidate >= ENOUGH * gain**2
        chance = FAR * jnp.sqrt(number * variance) + MORE * gain
        enough |= number * (local - mean) > chance
        mean = jnp.where(enough, local, mean)
        variance = jnp.where(enough, candidate, variance)
    return jnp.maximum(variance, floor)
