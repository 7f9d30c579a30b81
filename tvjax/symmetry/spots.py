"""Where do the members of an orbit differ more than chance allows?

Sums over small squares of pixels are compared with what the orbit mean expects there.
Given the total T of an orbit, the own share of it is binomial, whatever the intensity:

    z² = 2 [O ln(O/M) + (T − O) ln((T − O)/(T − M))],    T = M/(1 − d)

for own counts O, the orbit mean's M, and the share d of the variance that the
difference O − M has. Right at any count, a normal deviate in the limit.
"""

from typing import NamedTuple

import jax
from jax import Array, numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Bool, Float

from tvjax.filters import box_sum, widen
from tvjax.noise import Noise, Poisson
from tvjax.symmetry.groups import Group
from tvjax.symmetry.orbits import Orbit, orbit_mean
from tvjax.symmetry.rings import find_rings, radial_profile
from tvjax.symmetry.transforms import Point

SIDES = (3, 5)  # of the squares, in pixels
SURROUNDING = 21  # side of the square that tells the level around a spot
# A difference this strong in standard deviations is found without a spot to look at.
STRONG = 4.5
# A spot this strong over its surrounding is found already where it is likelier that its
# partners are at their level than as bright, with about this many by chance an image.
STANDS_OUT = 4.0
BY_CHANCE = 2.0
# A spot this strong is kept as measured, if so few are that by chance; others may be
# chance, and are denoised.
KEPT = 5.0
KEPT_BY_CHANCE = 0.1
# Of the pixels, that chance is allowed to break.
MOST_BY_CHANCE = 0.15


class Broken(NamedTuple):
    """Where the orbits cannot be averaged."""

    differs: Bool[
        Array, "height width"
    ]  # the pixel, or one that it would be averaged with
    spot: Bool[Array, "height width"]  # and stands out from its surrounding here


def find_broken(
    y: Float[Array, "height width"],
    orbit: Orbit,
    group: Group,
    centre: Point,
    mask: Bool[Array, "height width"],
    noise: Noise,
) -> Broken:
    """Scan the differences from the orbit mean.

    Expects of chance about one pixel in ten thousand, and of a spot that is 8 standard
    deviations in its summed counts to be found.
    """
    differs, spot = _scan(y, orbit, jnp.asarray(centre, y.dtype), mask, noise)
    if group.continuous:
        # the mean over a ring hardly knows of one spot; without it, it is right
        return Broken(differs, spot)
    # every pixel whose mean one that was found has a part in
    reached = orbit_mean(differs.astype(y.dtype), group, centre, mask)
    return Broken((reached.mean > 1e-6) & mask, spot)


@jax.jit
def _scan(
    y: Array, orbit: Orbit, centre: Array, mask: Array, noise: Noise
) -> tuple[Array, Array]:
    """Pixels that differ from their orbit mean, and those that are spots."""
    seen = mask & orbit.mask
    own = jnp.where(seen, y, 0)
    expected = jnp.where(seen, orbit.mean, 0)
    variance = jnp.where(seen, jnp.maximum(noise.variance(orbit.mean), 0), 0)
    freedom = variance * orbit.freedom
    pixels = box_sum(seen.astype(y.dtype), SURROUNDING)
    around = box_sum(expected, SURROUNDING)
    ring = jnp.where(seen, _ring_level(expected, centre, seen, noise), 0)
    differs, spot = jnp.zeros(y.shape, bool), jnp.zeros(y.shape, bool)
    for side in SIDES:
        sums = [box_sum(z, side) for z in (own, expected, variance, freedom)]
        observed, mean, spread, free = sums
        share = free / jnp.where(spread > 0, spread, 1)
        unequal = _deviate(observed, mean, spread, share, noise)
        inside = box_sum(seen.astype(y.dtype), side)
        # the level around, without the square itself, or that of its ring
        level = jnp.maximum(
            (around - mean) / jnp.maximum(pixels - inside, 1),
            box_sum(ring, side) / jnp.maximum(inside, 1),
        )
        one = noise.variance(level)
        here = _deviate(observed, inside * level, inside * one, 1.0, noise)
        # what the others hold of it, as many times over as there are others
        others = share / jnp.maximum(1 - share, 1e-6)
        there = _deviate(
            mean / jnp.maximum(1 - share, 1e-6) - observed,
            others * inside * level,
            others * inside * one,
            1.0,
            noise,
        )
        bright = here > STANDS_OUT
        # a bright pixel is in as many squares as one has pixels, half of them its own
        trials = jnp.maximum(2 * jnp.sum(bright & seen) / side**2, 1)
        # twice the logarithm of the likelihoods: partners at their level, or as bright
        alone = unequal**2 - jnp.maximum(there, 0) ** 2
        alone = jnp.where(bright & (unequal > 0), alone, 0)
        strong = jnp.abs(unequal) > STRONG
        found = strong | (alone > _least(trials, BY_CHANCE) ** 2)
        kept = strong | (alone > _least(trials, KEPT_BY_CHANCE) ** 2)
        differs |= widen(found, side)
        spot |= widen(kept & (here > KEPT), side)
    return differs & seen, spot & seen


def broken_by_chance(group: Group, num_pixels: int) -> float:
    """The share of the pixels that twice the usual spots by chance would take.

    Bounded, as of the smallest frames a few spots are all.
    """
    reached = 1 if group.continuous else group.order
    spots = 2 * BY_CHANCE * len(SIDES)
    return min(spots * SIDES[-1] ** 2 * reached / num_pixels, MOST_BY_CHANCE)


def _least(trials: Array, by_chance: float) -> Array:
    """What so few of so many normal deviates exceed."""
    return jnp.maximum(-ndtri(jnp.minimum(by_chance / trials, 0.02)), 2)


def _ring_level(mean: Array, centre: Point, seen: Array, noise: Noise) -> Array:
    """What a piece of a narrow ring does not stand out from; spots left out."""
    rings = find_rings(mean.shape, centre, mean.dtype)
    with_spots = radial_profile(mean, rings, seen).image
    spread = jnp.sqrt(jnp.maximum(noise.variance(with_spots), 0))
    return radial_profile(mean, rings, seen & (mean < with_spots + 3 * spread)).image


def _deviate(
    observed: Array, mean: Array, variance: Array, share: Array | float, noise: Noise
) -> Array:
    """O − M in standard deviations, as if normal; zero where nothing is known."""
    some = (variance > 0) & (share > 1e-3)
    difference = observed - mean
    if not isinstance(noise, Poisson):
        spread = jnp.where(some, variance * share, 1)
        return jnp.where(some, difference / jnp.sqrt(spread), 0)
    gain = jnp.where(some, variance / jnp.where(mean > 0, mean, 1), 1)
    some &= mean > 0
    m = jnp.where(some, mean / gain, 1)
    o = jnp.where(some, jnp.maximum(observed / gain, 0), 1)
    rest = m * share / jnp.maximum(1 - share, 1e-6)  # what the partners expect
    left = jnp.maximum(rest - (o - m), 0)
    deviance = _term(o, m) + _term(left, rest)
    return jnp.where(
        some, jnp.sign(difference) * jnp.sqrt(2 * jnp.maximum(deviance, 0)), 0
    )


def _term(o: Array, m: Array) -> Array:
    """o ln(o/m) − (o − m), zero logarithms included, without cancellation."""
    m = jnp.where(m > 0, m, 1e-6)
    excess = (o - m) / m
    small = jnp.abs(excess) < 1e-2
    safe = jnp.where(o > 0, o, 1)
    exact = jnp.where(o > 0, o * jnp.log(safe / m), 0) - (o - m)
    return jnp.where(small, m * excess**2 * (0.5 - excess / 6), exact)
