"""Features by which frames are compared, and how much each pixel counts."""

from typing import Literal, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, Real

from tvjax.registration.shifting import correlate_along

# Standard deviation in pixels of the smoothing before differences are taken.
SMOOTHING = 1.0
# The weight of a pixel is the mask smoothed over 2 pixels, from zero where that is 0.85
# to one. It is zero up to 2 pixels from an invalid pixel, where smoothed gradients
# still depend on what is missing; a weight that jumps would ring between the pixels.
SOFTENING, FULL_ENOUGH = 2.0, 0.85

By: TypeAlias = Literal["intensity", "gradient"]


class WeightedImage(NamedTuple):
    """What is compared of a frame, and how much each pixel counts, from 0 to 1."""

    weight: Float[Array, "height width"]
    values: Float[Array, "height width"]


def features_of(
    image: Real[Array, "height width"], mask: Bool[Array, "height width"], by: By
) -> WeightedImage:
    """The image or the lengths of its gradients, and the softened mask."""
    mask = mask & jnp.isfinite(image)
    z = _standardized(image, mask)
    valid = mask.astype(z.dtype)
    fullness = (_smooth(valid, SOFTENING) - FULL_ENOUGH) / (1 - FULL_ENOUGH)
    weight = jnp.where(mask, jnp.clip(fullness, 0, 1), 0)
    if by == "intensity":
        return with_unit_power(weight, z)
    known = _smooth(valid, SMOOTHING)
    z = _smooth(z, SMOOTHING) / jnp.where(known > 0, known, 1)
    return with_unit_power(weight, jnp.hypot(*jnp.gradient(z)))


def features_of_both(
    frames: Real[Array, "2 height width"], masks: Bool[Array, "2 height width"], by: By
) -> tuple[WeightedImage, WeightedImage]:
    """Features of two frames."""

    def one(frame: Array, mask: Array) -> WeightedImage:
        return features_of(frame, mask, by)

    weight, values = jax.vmap(one)(frames, masks)
    return WeightedImage(weight[0], values[0]), WeightedImage(weight[1], values[1])


def with_unit_power(
    weight: Float[Array, "height width"], values: Float[Array, "height width"]
) -> WeightedImage:
    """The values scaled to a weighted mean square of one, unless all are zero."""
    square = jnp.sum(weight * values**2) / jnp.maximum(jnp.sum(weight), 1)
    return WeightedImage(weight, values / jnp.sqrt(jnp.where(square > 0, square, 1)))


def _standardized(
    image: Real[Array, "height width"], mask: Bool[Array, "height width"]
) -> Float[Array, "height width"]:
    """Mean zero and deviation one over the valid pixels, zero elsewhere."""
    dtype = jnp.promote_types(image.dtype, jnp.float32)
    z = jnp.where(mask, image, 0).astype(dtype)
    rounding = 8 * jnp.finfo(dtype).eps * jnp.max(jnp.abs(z))
    count = jnp.maximum(jnp.sum(mask), 1)
    for _ in range(2):  # the mean of large numbers is only as good as their sum
        z = jnp.where(mask, z - jnp.sum(z) / count, 0)
    deviation = jnp.sqrt(jnp.sum(z**2) / count)
    flat = deviation <= rounding
    return jnp.where(flat, 0, z / jnp.where(flat, 1, deviation))


def _smooth(
    image: Float[Array, "height width"], sigma: float
) -> Float[Array, "height width"]:
    """Gaussian smoothing, with zeros beyond the border."""
    reach = int(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = jnp.asarray(kernel / kernel.sum(), image.dtype)
    for axis in (0, 1):
        pad = [(reach, reach) if k == axis else (0, 0) for k in (0, 1)]
        image = correlate_along(jnp.pad(image, pad), kernel, axis)
    return image
