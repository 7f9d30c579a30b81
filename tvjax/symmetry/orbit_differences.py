"""Differences between the members of orbits: by ring, over blocks, in spots.

All that the test of a symmetry asks of the image, as sums for it to judge.
"""

from functools import partial
from typing import NamedTuple

import jax
from jax import Array, numpy as jnp, ops
from jaxtyping import Bool, Float, Int

from tvjax.filters import box_sum
from tvjax.noise import Noise, Poisson
from tvjax.symmetry.centre_score import CentreScore, score_centre
from tvjax.symmetry.groups import Group
from tvjax.symmetry.measurement import Measurement
from tvjax.symmetry.orbits import mean_over_orbits, Orbit
from tvjax.symmetry.rings import NUM_RINGS, number_rings
from tvjax.symmetry.shading import find_shading
from tvjax.symmetry.spots import BrokenOrbits, find_broken_orbits
from tvjax.symmetry.transforms import specialize_centre

# Side of a block in pixels: smooth differences show in sums before they do in pixels.
BLOCK = 8
# Orbit mean and own image are weighed by the differences in a square of this side
# around each pixel, where these exceed chance by so many standard deviations.
SQUARE = 15
SURE = 2.0
# Spots in less than this share of the pixels of rings are left out when the centre is
# judged.
FEW_BROKEN = 0.005


class RingSums(NamedTuple):
    """Sums over each ring of what its orbits differ by.

    Attributes:
        chi_squared: Squared differences over their variance.
        freedom: Degrees of freedom.
        all_freedom: Degrees of freedom, those of broken orbits included.
        variance: Variance of chi-squared.
        squares: Squared differences.
        noise_share: What noise alone adds to the squares, as far as a mean removes it.
        share: Mean λ, where shaded.
    """

    chi_squared: Float[Array, " ring"]
    freedom: Float[Array, " ring"]
    all_freedom: Float[Array, " ring"]
    variance: Float[Array, " ring"]
    squares: Float[Array, " ring"]
    noise_share: Float[Array, " ring"]
    share: Float[Array, " ring"] | None


class OrbitComparison(NamedTuple):
    """The orbits compared with each other in rings, blocks and spots.

    Attributes:
        rings: Sums over each ring.
        radius: Middle radius of each ring.
        ring: Ring of each pixel.
        blocks: Chi-squared of sums over blocks, its degrees of freedom and variance.
        score: Score of a shift of the centre.
        orbits: Orbits that a spot breaks.
        share: λ of each pixel, where shaded.
        shading: Smooth factor, where shaded.
        window: Width of its window.
    """

    rings: RingSums
    radius: Float[Array, " ring"]
    ring: Int[Array, "height width"]
    blocks: Float[Array, "3"]
    score: CentreScore
    orbits: BrokenOrbits
    share: Float[Array, "height width"] | None
    shading: Float[Array, "height width"] | None
    window: float | None


def compare_orbits(
    measured: Measurement, group: Group, centre: tuple[float, float], *, shaded: bool
) -> OrbitComparison:
    """Do everything that needs the image.

    In several programs: most are the same for all groups, and compiled once.
    """
    y, mask = measured.image, measured.mask
    place = specialize_centre(centre, group)
    ring, radius = number_rings(jnp.asarray(place, y.dtype), y.shape, y.dtype)
    factor = window = None
    even = measured
    if shaded:
        factor, orbit, found, window = find_shading(measured, group, place, ring)
        even = measured._replace(image=y / factor)
    else:
        orbit = mean_over_orbits(y, group, place, mask)
        found = find_broken_orbits(measured, orbit, group, place)
    # A spot and its partners pull the centre to both sides alike, except in the mean
    # over a ring: there spots are left out. Many spots are what a wrong centre makes,
    # and count.
    few_spots = jnp.mean(found.broken, where=mask) < FEW_BROKEN
    left_out = found.broken & (few_spots | shaded) & group.continuous
    score = score_centre(even._replace(mask=mask & ~left_out), group, place)
    rings, blocks, share = _sum_differences(measured, orbit, found.broken, ring, shaded)
    return OrbitComparison(
        rings, radius, ring, blocks, score, found, share, factor, window
    )


@partial(jax.jit, static_argnames="shaded")
def _sum_differences(
    measured: Measurement,
    orbit: Orbit,
    broken: Bool[Array, "height width"],
    ring: Int[Array, "height width"],
    shaded: bool,
) -> tuple[RingSums, Float[Array, "3"], Float[Array, "height width"] | None]:
    """Differences from the orbit mean by ring, over blocks and around each pixel."""
    y, noise = measured.image, measured.noise
    seen = measured.mask & orbit.mask & (orbit.freedom > 1e-6)
    level = noise.variance(orbit.mean)
    judged = seen & ~broken & (level > 0)
    freedom = jnp.where(judged, orbit.freedom, 0)
    difference = jnp.where(judged, y - orbit.mean, 0)
    squares = difference**2
    few = _rarity(orbit, noise)

    def by_ring(z: Array) -> Array:
        return ops.segment_sum(z.ravel(), ring.ravel(), NUM_RINGS)

    noise_share = jnp.where(judged, level * (1 - orbit.own), 0)
    share = share_by_ring = None
    if shaded:
        expected = jnp.where(judged, level * freedom, 0)
        share = _local_share(squares, noise_share, expected, level * (1 - few))
        share = jnp.where(broken, 0, share)
        total = by_ring(freedom)
        known = total > 0
        share_by_ring = by_ring(share * freedom) / jnp.where(known, total, 1)
        share_by_ring = jnp.where(known, share_by_ring, 1)
    safe = jnp.where(judged, level, 1)
    rings = RingSums(
        chi_squared=by_ring(squares / safe),
        freedom=by_ring(freedom),
        all_freedom=by_ring(jnp.where(seen, orbit.freedom, 0)),
        variance=by_ring(2 * freedom * (1 - few)),
        squares=by_ring(squares),
        noise_share=by_ring(noise_share),
        share=share_by_ring,
    )
    return rings, _blocks(difference, jnp.where(judged, level, 0), freedom), share


def _local_share(
    squares: Float[Array, "height width"],
    noise_share: Float[Array, "height width"],
    expected: Float[Array, "height width"],
    level: Float[Array, "height width"],
) -> Float[Array, "height width"]:
    """λ of least risk in the square around each pixel; one where chance explains it."""
    found, noise = box_sum(squares, SQUARE), box_sum(noise_share, SQUARE)
    chance = box_sum(expected, SQUARE)
    scatter = jnp.sqrt(2 * box_sum(expected * jnp.maximum(level, 0), SQUARE))
    known = found > chance + SURE * scatter
    return jnp.where(known, jnp.clip(noise / jnp.where(known, found, 1), 0, 1), 1)


def _blocks(
    difference: Float[Array, "height width"],
    level: Float[Array, "height width"],
    freedom: Float[Array, "height width"],
) -> Float[Array, "3"]:
    """Chi-squared of sums over blocks, its degrees of freedom and variance."""
    inner = tuple(size // BLOCK * BLOCK for size in level.shape)

    def total(z: Array) -> Array:
        z = z[: inner[0], : inner[1]]
        return z.reshape(-1, BLOCK, inner[1] // BLOCK, BLOCK).sum((1, 3))

    variance = total(level)
    known = variance > 0
    safe = jnp.where(known, variance, 1)
    chi_squared = jnp.sum(jnp.where(known, total(difference) ** 2 / safe, 0))
    share = jnp.sum(jnp.where(known, total(level * freedom) / safe, 0))
    return jnp.stack([chi_squared, share, 2 * share])


def _rarity(orbit: Orbit, noise: Noise) -> Float[Array, "height width"]:
    """1/S for an orbit of S photons: chi-squared scatters that much less."""
    if not isinstance(noise, Poisson):
        return jnp.zeros_like(orbit.mean)
    photons = orbit.mean * orbit.num_members / noise.gain.astype(orbit.mean.dtype)
    return jnp.minimum(1 / jnp.maximum(photons, 1), 1)
