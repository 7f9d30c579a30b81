"""By how much do the orbits say that the centre is off?

A pattern f that is symmetric about c + δ differs from its orbit mean about c by

    e = y − mean = −G δ + noise,    G = ∇f − mean(∇f),

since averaging over orbits takes the symmetric part out of both. The score −Gᵀ e / v
has mean zero where the centre is right, whatever the pattern.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.filters import blur, normal_image, slope
from tvjax.noise import Noise
from tvjax.symmetry.groups import Group
from tvjax.symmetry.orbits import Orbit, orbit_mean
from tvjax.symmetry.transforms import Point

# Of the pattern whose slope is taken, in pixels: slopes of single counts are noise.
SMOOTHING = 2.0


class Offset(NamedTuple):
    """The linear system for δ, over (y, x)."""

    score: Float[Array, "2"]
    information: Float[Array, "2 2"]  # what divides the score to give δ
    covariance: Float[Array, "2 2"]  # of the score
    scale: Float[Array, ""]  # chi-squared of the differences over its freedom


def determined(group: Group) -> tuple[bool, bool]:
    """Whether the group fixes the centre along y, along x: a mirror fixes one."""
    fixed = np.mean([operation.matrix for operation in group.operations], axis=0)
    if group.continuous:
        return True, True
    return bool(fixed[0, 0] < 0.5), bool(fixed[1, 1] < 0.5)


def find_offset(
    y: Float[Array, "height width"],
    group: Group,
    centre: Point,
    mask: Bool[Array, "height width"],
    noise: Noise,
) -> Offset:
    """Score and information of a shift of the centre."""

    # programs of their own, which all groups share: one for all of it would be
    # compiled anew for each
    def mean(z: Array) -> Array:
        return orbit_mean(z, group, centre, mask).mean

    orbit = orbit_mean(y, group, centre, mask)
    level, drawn = _expect(orbit, mask, noise)
    slopes = [_smooth_slope(z, orbit.mask) for z in (orbit.mean, mean(drawn))]
    means = [jnp.stack([mean(step) for step in steps]) for steps in slopes]
    return _combine(y, orbit, mask, noise, level, slopes, means)


@jax.jit
def _expect(orbit: Orbit, mask: Array, noise: Noise) -> tuple[Array, Array]:
    """The variance of a pixel, and noise that has it."""
    pattern = blur(orbit.mean, orbit.mask, SMOOTHING)
    level = _floored(noise.variance(pattern), mask & orbit.mask)
    white = normal_image(pattern.shape, pattern.dtype)
    return level, jnp.where(mask, jnp.sqrt(level) * white, 0)


@jax.jit
def _smooth_slope(pattern: Array, mask: Array) -> Array:
    return slope(blur(pattern, mask, SMOOTHING), mask)


@jax.jit
def _combine(
    y: Array,
    orbit: Orbit,
    mask: Array,
    noise: Noise,
    level: Array,
    slopes: Sequence[Array],
    means: Sequence[Array],
) -> Offset:
    """The system, from the slopes of pattern and noise and their means over orbits."""
    seen = mask & orbit.mask
    carried, noisy = (
        jnp.where(seen[None], steps - mean, 0)  # G; zero without anything to compare
        for steps, mean in zip(slopes, means, strict=True)
    )
    difference = jnp.where(seen, y - orbit.mean, 0)
    score = -jnp.sum(carried * (difference / level)[None], axis=(1, 2))
    spread = jnp.maximum(noise.variance(orbit.mean), 0) / level**2
    # the noise in the slope itself adds to its square: take away what it adds
    information = _outer(carried, 1 / level) - _outer(noisy, 1 / level)
    freedom = jnp.where(seen, orbit.freedom, 0)
    chi_squared = jnp.sum(difference**2 / level)
    scale = chi_squared / jnp.maximum(jnp.sum(freedom), 1)
    return Offset(score, information, _outer(carried, spread), scale)


def _floored(variance: Array, seen: Array) -> Array:
    """A hundredth of the mean at least, so that no dark pixel decides alone."""
    typical = jnp.sum(jnp.where(seen, variance, 0)) / jnp.maximum(jnp.sum(seen), 1)
    return jnp.maximum(variance, 0.01 * jnp.where(typical > 0, typical, 1))


def _outer(g: Array, weight: Array) -> Array:
    # by parts, which processors do many times faster than einsum
    (a, b), both = g, jnp.sum(g[0] * g[1] * weight)
    return jnp.array([[jnp.sum(a**2 * weight), both], [both, jnp.sum(b**2 * weight)]])
