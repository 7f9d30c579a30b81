"""The score of a shift of the centre: by how much the orbits say that it is off.

A pattern f that is symmetric about c + δ differs from its orbit mean about c by

    e = y − mean = −G δ + noise,    G = ∇f − mean(∇f),

since averaging over orbits takes the symmetric part out of both. The score −Gᵀ e / v
has mean zero where the centre is right, whatever the pattern.
"""

from typing import NamedTuple

import jax
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.filters import blur, central_differences
from tvjax.symmetry.groups import Group
from tvjax.symmetry.measurement import Measurement
from tvjax.symmetry.orbits import mean_over_orbits, Orbit
from tvjax.symmetry.transforms import Point

# Width of the Gaussian that the pattern is blurred with before its slope is taken, in
# pixels: slopes of single counts are noise.
SMOOTHING = 2.0


class CentreScore(NamedTuple):
    """The linear system for the shift δ of the centre, over (y, x).

    Attributes:
        score: −Gᵀ e / v.
        information: Matrix A of A δ = score.
        covariance: Covariance of the score.
        scale: Chi-squared of the differences over its degrees of freedom.
    """

    score: Float[Array, "2"]
    information: Float[Array, "2 2"]
    covariance: Float[Array, "2 2"]
    scale: Float[Array, ""]


def score_centre(measured: Measurement, group: Group, centre: Point) -> CentreScore:
    """Score and information of a shift of the centre."""

    # Programs of their own, which all groups share: one for all of it would be
    # compiled anew for each group.
    def mean(z: Array) -> Array:
        return mean_over_orbits(z, group, centre, measured.mask).mean

    orbit = mean_over_orbits(measured.image, group, centre, measured.mask)
    level, drawn = _expect(orbit, measured)
    slopes = [_smooth_slope(z, orbit.mask) for z in (orbit.mean, mean(drawn))]
    means = [jnp.stack([mean(step) for step in steps]) for steps in slopes]
    return _combine(measured, orbit, level, slopes, means)


@jax.jit
def _expect(
    orbit: Orbit, measured: Measurement
) -> tuple[Float[Array, "height width"], Float[Array, "height width"]]:
    """The variance of a pixel, and noise that has it."""
    pattern = blur(orbit.mean, orbit.mask, SMOOTHING)
    variance = measured.noise.variance(pattern)
    level = _floored(variance, measured.mask & orbit.mask)
    white = jax.random.normal(jax.random.key(0), pattern.shape, pattern.dtype)
    return level, jnp.where(measured.mask, jnp.sqrt(level) * white, 0)


@jax.jit
def _smooth_slope(
    pattern: Float[Array, "height width"], mask: Bool[Array, "height width"]
) -> Float[Array, "2 height width"]:
    return central_differences(blur(pattern, mask, SMOOTHING), mask)


@jax.jit
def _combine(
    measured: Measurement,
    orbit: Orbit,
    level: Float[Array, "height width"],
    slopes: list[Float[Array, "2 height width"]],
    means: list[Float[Array, "2 height width"]],
) -> CentreScore:
    """The system, from the slopes of pattern and noise and their means over orbits."""
    seen = measured.mask & orbit.mask
    carried, noisy = (
        jnp.where(seen[None], steps - mean, 0)  # G; zero where nothing is compared
        for steps, mean in zip(slopes, means, strict=True)
    )
    difference = jnp.where(seen, measured.image - orbit.mean, 0)
    score = -jnp.sum(carried * (difference / level)[None], axis=(1, 2))
    spread = jnp.maximum(measured.noise.variance(orbit.mean), 0) / level**2
    # the noise in the slope adds to its square, so that its own square is taken away
    information = _outer(carried, 1 / level) - _outer(noisy, 1 / level)
    freedom = jnp.where(seen, orbit.freedom, 0)
    chi_squared = jnp.sum(difference**2 / level)
    scale = chi_squared / jnp.maximum(jnp.sum(freedom), 1)
    return CentreScore(score, information, _outer(carried, spread), scale)


def _floored(
    variance: Float[Array, "height width"], seen: Bool[Array, "height width"]
) -> Float[Array, "height width"]:
    """The variance, a hundredth of its mean at least: no dark pixel decides alone."""
    typical = jnp.sum(jnp.where(seen, variance, 0)) / jnp.maximum(jnp.sum(seen), 1)
    return jnp.maximum(variance, 0.01 * jnp.where(typical > 0, typical, 1))


def _outer(
    g: Float[Array, "2 height width"], weight: Float[Array, "height width"]
) -> Float[Array, "2 2"]:
    """Σ w g gᵀ, by its entries: many times faster on processors than einsum."""
    (a, b), both = g, jnp.sum(g[0] * g[1] * weight)
    return jnp.array([[jnp.sum(a**2 * weight), both], [both, jnp.sum(b**2 * weight)]])
