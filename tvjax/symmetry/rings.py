"""What is the radial profile of a pattern of rings?

A continuous curve of straight pieces, one pixel long, fitted by least squares to all
valid pixels. Its residuals sum to zero: the total of the counts is kept exactly.
"""

from typing import NamedTuple

from jax import Array, lax, numpy as jnp, ops
from jaxtyping import Bool, Float, Int

from tvjax.symmetry.transforms import Point, positions

# Pixels per piece, at least; where so few, the slope of the piece is held back.
STIFFNESS = 1e-2


class Rings(NamedTuple):
    """Where each pixel lies between the knots of the profile."""

    inner: Int[Array, "height width"]  # the knot at or within its radius
    share: Float[Array, "height width"]  # of the next knot, in [0, 1]
    num_knots: int


class Profile(NamedTuple):
    """The profile and what is known of it."""

    image: Float[Array, "height width"]  # the curve at each pixel
    factor: Float[Array, "height width"]  # its variance over that of one pixel
    count: Float[Array, "height width"]  # valid pixels in the two pieces around


def find_rings(shape: tuple[int, int], centre: Point, dtype: jnp.dtype) -> Rings:
    """Radii in pixels, in pieces of about one pixel."""
    rows, columns = positions(shape, centre, dtype)
    radius = jnp.hypot(rows, columns)
    # enough for any centre within the frame, or beside it by its size
    num_knots = int(2 * sum(size**2 for size in shape) ** 0.5) + 3
    inner = jnp.clip(jnp.floor(radius), 0, num_knots - 2)
    share = jnp.clip(radius - inner, 0, 1)
    return Rings(inner.astype(jnp.int32), share, num_knots)


def radial_profile(
    y: Float[Array, "height width"],
    rings: Rings,
    mask: Bool[Array, "height width"] | None = None,
    weights: Float[Array, "height width"] | None = None,
) -> Profile:
    """Fit min_f Σ w (y − f(radius))² over curves f of straight pieces.

    Args:
        y: Image.
        rings: From `find_rings`.
        mask: True where a pixel is valid.
        weights: Of each pixel; one by default.
    """
    w = jnp.ones_like(y) if weights is None else weights
    w = w if mask is None else jnp.where(mask, w, 0)
    y = y if mask is None else jnp.where(mask, y, 0)
    low, high = 1 - rings.share, rings.share

    def total(z: Array, knot: Array) -> Array:
        return ops.segment_sum(z.ravel(), knot.ravel(), rings.num_knots)

    outer = rings.inner + 1
    diagonal = total(w * low**2, rings.inner) + total(w * high**2, outer)
    beside = total(w * low * high, rings.inner)[:-1]
    moment = total(w * low * y, rings.inner) + total(w * high * y, outer)
    # a little stiffness fixes what a masked ring leaves open, and keeps a constant
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

    knots = solve(moment)
    image = low * knots[rings.inner] + high * knots[outer]
    # the inverse's diagonal, from the ratios of its leading and trailing minors
    variance, covariance = _inverse_band(diagonal, beside)
    factor = (
        low**2 * variance[rings.inner]
        + high**2 * variance[outer]
        + 2 * low * high * covariance[rings.inner]
    )
    pixels = total((w > 0).astype(y.dtype), rings.inner)
    return Profile(image, factor, pixels[rings.inner])


def _inverse_band(diagonal: Array, beside: Array) -> tuple[Array, Array]:
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
