"""What does an image that moved show at rest, and what of it is known?

Lanczos' interpolation where a shift is between the pixels, copies where it is not.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from tvjax.registration.arguments import Mask, mask_of

# Taps on either side of an interpolated point.
REACH = 5


class Shifted(NamedTuple):
    """An image that was moved back, and what of it is known."""

    image: Real[Array, "height width"]  # 0 where invalid
    mask: Bool[Array, "height width"]


def shift_image(
    image: Real[ArrayLike, "height width"],
    shift: Float[ArrayLike, "2"],
    *,
    mask: Mask | None = None,
    whole_pixels: bool = False,
) -> Shifted:
    """Undo a shift: x(r) = Σ_q L(r + s − q) y(q) / Σ_q L(r + s − q), q valid.

    L is Lanczos' kernel of 5 pixels. What is invalid or beyond the border is left out
    of both sums and never leaks. A pixel of the result is valid where
    the (up to four) pixels around r + s are. Differentiable in image and shift. Where
    the shift is a whole number, the valid pixels are copied exactly.

    Args:
        image: The frame that moved, in any unit.
        shift: Its displacement (y, x) in pixels, as from `estimate_shift`.
        mask: True where a pixel is valid.
        whole_pixels: Round the shift, and keep noise and type of the data as they are.

    Returns:
        The image, floating point unless `whole_pixels`, and its mask.

    Raises:
        ValueError: For shapes that do not match.
    """
    image, shift = jnp.asarray(image), jnp.asarray(shift, float)
    if image.ndim != 2:
        raise ValueError(
            f"`image` must have two axes, got shape {image.shape}; "
            "use `align` or `jax.vmap` for a stack."
        )
    if shift.shape != (2,):
        raise ValueError(f"`shift` must be a pair (y, x), got shape {shift.shape}.")
    mask = mask_of("mask", mask, image.shape)
    return move_back(image, shift, mask, whole_pixels)


@partial(jax.jit, static_argnums=3)
def move_back(image, shift, mask, whole_pixels):
    mask = mask & jnp.isfinite(image)
    image = jnp.where(mask, image, 0)
    base = jnp.round(shift)
    if whole_pixels:
        mask = shifted_mask(mask, base)
        return Shifted(jnp.where(mask, _copy(image, base), 0), mask)
    image = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    valid = shifted_mask(mask, shift)
    total = resample(mask.astype(image.dtype), shift)
    image = resample(image, shift) / jnp.where(valid, total, 1)
    return Shifted(jnp.where(valid, image, 0), valid)


def shifted_mask(mask, shift):
    """Where the pixels on both sides of r + shift are valid, in y and in x."""
    base = jnp.round(shift)
    beside = base + jnp.sign(shift - base)
    mixed = jnp.stack([base[0], beside[1]]), jnp.stack([beside[0], base[1]])
    corners = [_copy(mask, corner) for corner in (base, beside, *mixed)]
    return jnp.stack(corners).all(0)


def resample(image, shift):
    """Lanczos' interpolation of the image at r + shift, zero beyond the border."""
    base = jnp.round(shift)
    rest = (shift - base).astype(image.dtype)
    base = base.astype(int)
    taps = np.arange(-REACH, REACH + 1)
    for axis, size in enumerate(image.shape):
        index = jnp.arange(-REACH, size + REACH) + base[axis]
        weights = _lanczos(rest[axis], taps)
        image = correlate_along(_take(image, index, axis), weights, axis)
    return image


def correlate_along(image, weights, axis):
    """Σ_k weights_k image(r + k), shorter than the image by all weights but one."""
    size = image.shape[axis] - len(weights) + 1

    def add(total, item):
        k, weight = item
        return total + weight * lax.dynamic_slice_in_dim(image, k, size, axis), None

    shape = (size, image.shape[1]) if axis == 0 else (image.shape[0], size)
    items = jnp.arange(len(weights)), weights.astype(image.dtype)
    return lax.scan(add, jnp.zeros(shape, image.dtype), items)[0]


def _copy(image, shift):
    """The image moved back by whole pixels, with zeros (False) beyond the border."""
    shift = shift.astype(int)
    for axis, size in enumerate(image.shape):
        image = _take(image, jnp.arange(size) + shift[axis], axis)
    return image


def _take(image, index, axis):
    index = jnp.where(index < 0, image.shape[axis], index)  # -1 is not the last one
    return jnp.take(image, index, axis, mode="fill", fill_value=0)


def _lanczos(rest, taps):
    """Weights of the taps for a point `rest` from tap 0, at most half a pixel.

    sin π(rest − k) = (−1)ᵏ sin π rest, so that they are exactly 0 and 1 at a pixel.
    """
    distance = rest - taps.astype(rest.dtype)
    away = jnp.where(taps == 0, 1, distance)
    sine = (-1.0) ** taps * jnp.sin(jnp.pi * rest) / (jnp.pi * away)
    window = jnp.where(jnp.abs(distance) < REACH, jnp.sinc(distance / REACH), 0)
    weights = jnp.where(taps == 0, jnp.sinc(rest), sine) * window
    return (weights / jnp.sum(weights)).astype(rest.dtype)
