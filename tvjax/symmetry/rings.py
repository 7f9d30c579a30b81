"""Rings about the centre, and the radial profile of a pattern that consists of them.

The profile is a continuous curve of straight pieces, one pixel long, fitted by least
squares to all valid pixels. Its residuals sum to zero: the total of the counts is kept
exactly.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp, ops
from jaxtyping import Bool, Float, Int

from tvjax.symmetry.transforms import offsets_from, Point

# Number of rings that the test of a symmetry sorts the pixels into: few enough that
# each holds the photons for a test of its own, many enough to follow a pattern.
NUM_RINGS = 24
# Weight of the equality of neighboring knots, in pixels. It decides the profile only
# where a ring has next to no valid pixel.
STIFFNESS = 1e-2


class RadialProfile(NamedTuple):
    """A profile over the radius, at each pixel.

    Attributes:
        image: The profile at the radius of the pixel.
        factor: Variance of the profile over that of one pixel.
        num_pixels: Number of valid pixels in the piece that the pixel lies in.
    """

    image: Float[Array, "height width"]
    factor: Float[Array, "height width"]
    num_pixels: Float[Array, "height width"]


@partial(jax.jit, static_argnums=(1, 2))
def number_rings(
    centre: Point, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[Int[Array, "height width"], Float[Array, " ring"]]:
    """The ring of each pixel, of `NUM_RINGS`, and the middle radius of each ring."""
    position, width = ring_position(centre, shape, dtype)
    ring = jnp.clip(position.astype(jnp.int32), 0, NUM_RINGS - 1)
    return ring, width * (jnp.arange(NUM_RINGS, dtype=dtype) + 0.5)


def ring_position(
    centre: Point, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[Float[Array, "height width"], Float[Array, ""]]:
    """The radius of each pixel in widths of a ring, and that width in pixels."""
    rows, columns = offsets_from(centre, shape, dtype)
    radius = jnp.hypot(rows, columns)
    width = jnp.max(radius) * (1 + 1e-6) / NUM_RINGS
    return radius / width, width


def radial_profile(
    y: Float[Array, "height width"],
    centre: Point,
    mask: Bool[Array, "height width"],
    weights: Float[Array, "height width"] | None = None,
) -> RadialProfile:
    """Fit min_f Σ w (y − f(radius))² over curves f of straight pieces.

    Args:
        y: Image.
        centre: Beam centre (y, x) in pixels.
        mask: True where a pixel is valid.
        weights: Weight w of each pixel; one by default.
    """
    w = jnp.ones_like(y) if weights is None else weights
    w, y = jnp.where(mask, w, 0), jnp.where(mask, y, 0)
    inner, high, num_knots = _place_knots(centre, y.shape, y.dtype)
    outer, low = inner + 1, 1 - high

    def total(z: Array, knot: Array) -> Array:
        return ops.segment_sum(z.ravel(), knot.ravel(), num_knots)

    diagonal = total(w * low**2, inner) + total(w * high**2, outer)
    beside = total(w * low * high, inner)[:-1]
    moment = total(w * low * y, inner) + total(w * high * y, outer)
    # the stiffness determines knots of masked rings, and leaves a constant as it is
    typical = jnp.sum(w) / jnp.maximum(jnp.sum(w > 0), 1)
    stiff = STIFFNESS * jnp.where(typical > 0, typical, 1)
    ends = jnp.ones_like(diagonal).at[1:-1].set(2)
    diagonal, beside = diagonal + stiff * ends, beside - stiff

    def solve(right: Array) -> Array:
        none = jnp.zeros((1,), y.dtype)
        return lax.linalg.tridiagonal_solve(
            jnp.concatenate([none, beside]),
            diagonal,
            jnp.concatenate([beside, none]),
            right[:, None],
        )[:, 0]

    values = solve(moment)
    image = low * values[inner] + high * values[outer]
    # the inverse's band follows from the ratios of leading and trailing minors
    variance, covariance = _inverse_band(diagonal, beside)
    factor = (
        low**2 * variance[inner]
        + high**2 * variance[outer]
        + 2 * low * high * covariance[inner]
    )
    pixels = total((w > 0).astype(y.dtype), inner)
    return RadialProfile(image, factor, pixels[inner])


def _place_knots(
    centre: Point, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[Int[Array, "height width"], Float[Array, "height width"], int]:
    """The knots of the profile, one pixel apart.

    Returns:
        For each pixel the last knot within its radius and the share of the next knot in
        the profile there; the number of knots.
    """
    rows, columns = offsets_from(centre, shape, dtype)
    radius = jnp.hypot(rows, columns)
    # enough for any centre in the frame, or outside it by its size
    num_knots = int(2 * sum(size**2 for size in shape) ** 0.5) + 3
    inner = jnp.clip(jnp.floor(radius), 0, num_knots - 2)
    share = jnp.clip(radius - inner, 0, 1)
    return inner.astype(jnp.int32), share, num_knots


def _inverse_band(
    diagonal: Float[Array, " knot"], beside: Float[Array, " piece"]
) -> tuple[Float[Array, " knot"], Float[Array, " piece"]]:
    """Diagonal and first off-diagonal of a symmetric tridiagonal matrix's inverse."""

    def eliminate(pivot: Array, entry: tuple[Array, Array]) -> tuple[Array, Array]:
        middle, side = entry
        pivot = middle - side**2 / pivot
        return pivot, pivot

    def pivots(d: Array, b: Array) -> Array:
        _, rest = lax.scan(eliminate, d[0], (d[1:], b))
        return jnp.concatenate([d[:1], rest])

    down = pivots(diagonal, beside)
    up = pivots(diagonal[::-1], beside[::-1])[::-1]
    variance = 1 / (down + up - diagonal)
    covariance = -beside / down[:-1] * variance[1:]
    return variance, covariance
