"""Spots that the members of an orbit do not share, more than chance allows.

Sums over small squares of pixels are compared with what the orbit mean expects there.
Given the total T of an orbit, the own share of it is binomial, whatever the intensity:

    z² = 2 [O ln(O/M) + (T − O) ln((T − O)/(T − M))],    T = M/(1 − d)

for own counts O, the orbit mean's M, and the share d of the variance that the
difference O − M has. This is right at any count, and a normal deviate in the limit.
"""

from typing import NamedTuple

import jax
from jax import Array, numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Bool, Float

from tvjax.filters import box_sum, dilate
from tvjax.noise import Noise, Poisson
from tvjax.symmetry.groups import Group
from tvjax.symmetry.measurement import Measurement
from tvjax.symmetry.orbits import mean_over_orbits, Orbit
from tvjax.symmetry.rings import radial_profile
from tvjax.symmetry.transforms import Point

# Sides of the squares whose sums are compared, in pixels: those of usual spots.
SIDES = (3, 5)
# Side of the square that tells the level around a spot, in pixels.
SURROUNDING = 21
# A difference above this, in standard deviations, breaks its orbit without a visible
# spot: chance makes one in 150,000.
STRONG = 4.5
# A spot this strong over its surrounding, in standard deviations, breaks its orbit
# already where its partners are likelier to be at their level than as bright. The bar
# for that is such that chance passes it about `BY_CHANCE` times in an image.
STANDS_OUT = 4.0
BY_CHANCE = 2.0
# A spot this strong is kept as measured, if the bar is one that chance passes only
# `KEPT_BY_CHANCE` times in an image; others may be chance, and are denoised.
KEPT = 5.0
KEPT_BY_CHANCE = 0.1
# Greatest share of the pixels that is granted to chance in broken orbits.
MOST_BY_CHANCE = 0.15


class BrokenOrbits(NamedTuple):
    """Orbits that cannot be averaged, since one member has a spot of its own.

    Attributes:
        broken: True in every pixel of such an orbit.
        spot: True in the spot itself, where it stands out from its surrounding.
    """

    broken: Bool[Array, "height width"]
    spot: Bool[Array, "height width"]


def find_broken_orbits(
    measured: Measurement, orbit: Orbit, group: Group, centre: Point
) -> BrokenOrbits:
    """Scan the differences from the orbit mean.

    Chance breaks the orbits of about one pixel in ten thousand. A spot of 8 standard
    deviations in its summed counts is found.
    """
    image, mask = measured.image, measured.mask
    differs, spot = _scan(measured, orbit, jnp.asarray(centre, image.dtype))
    if group.continuous:
        # one spot hardly moves the mean over a ring, which is right once it is left out
        return BrokenOrbits(differs, spot)
    # every pixel to whose mean one of the differing pixels contributes
    reached = mean_over_orbits(differs.astype(image.dtype), group, centre, mask)
    return BrokenOrbits((reached.mean > 1e-6) & mask, spot)


@jax.jit
def _scan(
    measured: Measurement, orbit: Orbit, centre: Float[Array, "2"]
) -> tuple[Bool[Array, "height width"], Bool[Array, "height width"]]:
    """Pixels that differ from their orbit mean, and those that are spots."""
    y, noise = measured.image, measured.noise
    seen = measured.mask & orbit.mask
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
        # the level around the square, or that of its ring where it is higher
        level = jnp.maximum(
            (around - mean) / jnp.maximum(pixels - inside, 1),
            box_sum(ring, side) / jnp.maximum(inside, 1),
        )
        one = noise.variance(level)
        here = _deviate(observed, inside * level, inside * one, 1.0, noise)
        # the counts of the other members together, and how many members they are
        others = share / jnp.maximum(1 - share, 1e-6)
        there = _deviate(
            mean / jnp.maximum(1 - share, 1e-6) - observed,
            others * inside * level,
            others * inside * one,
            1.0,
            noise,
        )
        bright = here > STANDS_OUT
        # neighboring squares overlap: about two independent ones for each square's area
        trials = jnp.maximum(2 * jnp.sum(bright & seen) / side**2, 1)
        # twice the log-likelihood ratio of partners at their level to ones as bright
        alone = unequal**2 - jnp.maximum(there, 0) ** 2
        alone = jnp.where(bright & (unequal > 0), alone, 0)
        strong = jnp.abs(unequal) > STRONG
        found = strong | (alone > _least(trials, BY_CHANCE) ** 2)
        kept = strong | (alone > _least(trials, KEPT_BY_CHANCE) ** 2)
        differs |= dilate(found, side)
        spot |= dilate(kept & (here > KEPT), side)
    return differs & seen, spot & seen


def broken_by_chance(group: Group, num_pixels: int) -> float:
    """The share of the pixels that twice the usual number of chance spots would break.

    It is bounded, since a few spots break all of a very small frame.
    """
    reached = 1 if group.continuous else group.order
    spots = 2 * BY_CHANCE * len(SIDES)
    return min(spots * SIDES[-1] ** 2 * reached / num_pixels, MOST_BY_CHANCE)


def _least(trials: Float[Array, ""], by_chance: float) -> Float[Array, ""]:
    """The bar that `by_chance` of `trials` normal deviates exceed on average."""
    return jnp.maximum(-ndtri(jnp.minimum(by_chance / trials, 0.02)), 2)


def _ring_level(
    mean: Float[Array, "height width"],
    centre: Point,
    seen: Bool[Array, "height width"],
    noise: Noise,
) -> Float[Array, "height width"]:
    """The level of the ring around each pixel, bright spots left out of it.

    Without it a piece of a narrow ring would pass for a spot.
    """
    with_spots = radial_profile(mean, centre, seen).image
    spread = jnp.sqrt(jnp.maximum(noise.variance(with_spots), 0))
    return radial_profile(mean, centre, seen & (mean < with_spots + 3 * spread)).image


def _deviate(
    observed: Float[Array, "height width"],
    mean: Float[Array, "height width"],
    variance: Float[Array, "height width"],
    share: Float[Array, "height width"] | float,
    noise: Noise,
) -> Float[Array, "height width"]:
    """O − M as a normal deviate of the same chance; zero where nothing is known."""
    some = (variance > 0) & (share > 1e-3)
    difference = observed - mean
    if not isinstance(noise, Poisson):
        spread = jnp.where(some, variance * share, 1)
        return jnp.where(some, difference / jnp.sqrt(spread), 0)
    gain = jnp.where(some, variance / jnp.where(mean > 0, mean, 1), 1)
    some &= mean > 0
    m = jnp.where(some, mean / gain, 1)
    o = jnp.where(some, jnp.maximum(observed / gain, 0), 1)
    rest = m * share / jnp.maximum(1 - share, 1e-6)  # expected of the partners
    left = jnp.maximum(rest - (o - m), 0)
    deviance = _term(o, m) + _term(left, rest)
    return jnp.where(
        some, jnp.sign(difference) * jnp.sqrt(2 * jnp.maximum(deviance, 0)), 0
    )


def _term(
    o: Float[Array, "height width"], m: Float[Array, "height width"]
) -> Float[Array, "height width"]:
    """The term o ln(o/m) − (o − m), without cancellation; m where o is zero."""
    m = jnp.where(m > 0, m, 1e-6)
    excess = (o - m) / m
    small = jnp.abs(excess) < 1e-2
    safe = jnp.where(o > 0, o, 1)
    exact = jnp.where(o > 0, o * jnp.log(safe / m), 0) - (o - m)
    return jnp.where(small, m * excess**2 * (0.5 - excess / 6), exact)
