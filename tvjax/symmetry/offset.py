"""By how much do the orbits say that the centre is off?

A pattern f that is symmetric about c + δ differs from its orbit mean about c by

    e = y − mean = −G δ + noise,    G = ∇f − mean(∇f),

since averaging over orbits takes the symmetric part out of both. The score −Gᵀ e / v
has mean zero where the centre is right, whatever the pattern.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.noise import Noise
from tvjax.symmetry.groups import Group
from tvjax.symmetry.moves import Point
from tvjax.symmetry.orbits import Orbit, orbit_mean
from tvjax.symmetry.smoothing import blur, normal_image, slope

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
    y: Float[Array, "y x"],
    group: Group,
    centre: Point,
    mask: Bool[Array, "y x"],
    noise: Noise,
) -> Offset:
    """Score and information of a shift of the centre."""
    orbit = orbit_mean(y, group, centre, mask)
    seen = mask & orbit.mask
    pattern = blur(orbit.mean, orbit.mask, SMOOTHING)
    level = _floored(noise.variance(pattern), seen)
    carried = _antisymmetric_slope(pattern, orbit, group, centre, mask)
    difference = jnp.where(seen, y - orbit.mean, 0)
    score = -jnp.sum(carried * (difference / level)[None], axis=(1, 2))
    spread = jnp.maximum(noise.variance(orbit.mean), 0) / level**2
    # the noise in the slope itself adds to its square: take away what it adds
    drawn = jnp.where(mask, jnp.sqrt(level) * normal_image(y.shape, y.dtype), 0)
    drawn = orbit_mean(drawn, group, centre, mask).mean
    drawn = blur(drawn, orbit.mask, SMOOTHING)
    noisy = _antisymmetric_slope(drawn, orbit, group, centre, mask)
    information = _outer(carried, 1 / level) - _outer(noisy, 1 / level)
    freedom = jnp.where(seen, orbit.freedom, 0)
    chi_squared = jnp.sum(difference**2 / level)
    scale = chi_squared / jnp.maximum(jnp.sum(freedom), 1)
    return Offset(score, information, _outer(carried, spread), scale)


def _antisymmetric_slope(
    pattern: Array, orbit: Orbit, group: Group, centre: Point, mask: Array
) -> Array:
    """G, zero where a pixel has nothing to be compared with."""
    steps = slope(pattern, orbit.mask)
    means = jax.vmap(lambda step: orbit_mean(step, group, centre, mask).mean)(steps)
    return jnp.where((mask & orbit.mask)[None], steps - means, 0)


def _floored(variance: Array, seen: Array) -> Array:
    """A hundredth of the mean at least, so that no dark pixel decides alone."""
    typical = jnp.sum(jnp.where(seen, variance, 0)) / jnp.maximum(jnp.sum(seen), 1)
    return jnp.maximum(variance, 0.01 * jnp.where(typical > 0, typical, 1))


def _outer(g: Array, weight: Array) -> Array:
    return jnp.einsum("ayx,byx,yx->ab", g, g, weight)
