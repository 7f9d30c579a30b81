"""Is the pattern symmetric, as far as its noise lets one see?

Differences from the orbit mean, e = y − mean, against their variance:

    χ² = Σ e² / v(mean)    over the degrees of freedom Σ (1 − 1/n)

by rings about the centre. The variance is that at the orbit mean, never that at a
single count. Given an orbit's total of S photons, the members are multinomial: χ² then
has exactly that mean, and the variance 2 (1 − 1/S) Σ (1 − 1/n), so that the test is
right where most pixels hold no photon (Haldane 1937, 10.1093/biomet/29.1-2.133).
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, numpy as jnp, ops
from jax.scipy.special import gammaincc
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tvjax.filters import box_sum
from tvjax.noise import estimate_noise, Noise, Poisson
from tvjax.symmetry.centre import check_centre, check_pattern
from tvjax.symmetry.centre_score import determined, find_offset, Offset
from tvjax.symmetry.groups import find_group, Group
from tvjax.symmetry.orbits import Orbit, orbit_mean
from tvjax.symmetry.shading import find_shading
from tvjax.symmetry.spots import Broken, broken_by_chance, find_broken
from tvjax.symmetry.transforms import Point, positions, settle

NUM_RINGS = 24
# Pixels along a block: what differs smoothly shows in sums before it does in pixels.
BLOCK = 8
# A symmetry is refused where chance would do the same this often or less.
SIGNIFICANCE = 1e-3
# Side of the square around a pixel whose differences weigh mean and own, in pixels, and
# the standard deviations beyond which they do.
SQUARE = 15
SURE = 2.0
# Or where more of the orbits than this hold spots that differ.
MOST_BROKEN = 0.05
# Rings with spots in fewer pixels than this are asked for their centre without them.
FEW_BROKEN = 0.005


class Refused(ValueError):
    """The data refuse a symmetry that was named."""


class Untestable(Refused):
    """The data cannot tell whether a symmetry holds."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well the members of the orbits agree.

    By ring where the unit says so; `share`, `broken`, `spot` and `shading` by pixel.
    """

    group: str
    centre: tuple[float, float]  # (y, x), pixels
    radius: np.ndarray  # ring; of its middle, pixels
    chi_squared: np.ndarray  # ring; of the orbit differences
    freedom: np.ndarray  # ring; expected chi-squared
    scatter: np.ndarray  # ring; standard deviation of chi-squared by chance
    ring_significance: np.ndarray  # ring; chance of as much or more
    blend: np.ndarray  # ring; λ of least estimated risk in λ mean + (1 − λ) own
    share: np.ndarray  # the same by pixel, zero where `broken`
    significance: float  # chance of as much chi-squared or more in all rings
    smooth_significance: float  # the same for sums over blocks of pixels
    shift: tuple[float, float]  # (y, x) by which the centre seems off, pixels
    shift_significance: float  # chance of as much or more where the centre is right
    broken_share: float  # of the pixels, in orbits that differ locally
    broken_by_chance: float  # what chance may well make of that
    broken: np.ndarray  # True where the orbit must not be averaged
    spot: np.ndarray  # True where one of its members has a spot of its own
    shading: np.ndarray | None  # smooth factor on the orbit mean; None if not asked for
    window: float | None  # that it is smooth over, pixels

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the symmetry but a few single spots."""
        return (
            self.significance > SIGNIFICANCE
            and self.smooth_significance > SIGNIFICANCE
            and self.shift_significance > SIGNIFICANCE
            and self.broken_share < max(MOST_BROKEN, self.broken_by_chance)
        )

    @property
    def gain(self) -> float:
        """The mean λ over the degrees of freedom: one for a symmetry that holds."""
        freedom = max(float(np.sum(self.freedom)), 1e-30)
        return float(np.sum(self.blend * self.freedom)) / freedom

    def report(self) -> str:
        """The same in a sentence."""
        ratio = np.sum(self.chi_squared) / max(np.sum(self.freedom), 1e-30)
        verdict = "holds" if self.holds else "is refused"
        if self.shading is not None:
            size = 100 * float(np.std(self.shading))
            besides = "holds up to" if self.holds else "is imperfect besides"
            verdict = f"{besides} a factor of ±{size:.2g} % over {self.window:g} pixels"
        return (
            f"{self.group} about ({self.centre[0]:.2f}, {self.centre[1]:.2f}) "
            f"{verdict}: chi-squared "
            f"{ratio:.4f} per degree of freedom (chance {self.significance:.2g}, "
            f"{self.smooth_significance:.2g} over blocks), "
            f"centre off by ({self.shift[0]:.3f}, {self.shift[1]:.3f}) pixels (chance "
            f"{self.shift_significance:.2g}), {100 * self.broken_share:.2f} % of the "
            "pixels in orbits with a spot of their own"
        )


def judge_symmetry(
    y: Float[ArrayLike, "height width"],
    group: Group | str,
    centre: tuple[float, float],
    mask: Bool[ArrayLike, "height width"] | None = None,
    noise: Noise | None = None,
    *,
    shaded: bool = False,
) -> Agreement:
    """Test whether a pattern is symmetric about a centre.

    Four questions: do the orbit differences have the size of the noise, by ring; do
    their sums over blocks of 8 × 8 pixels; does a shift of the centre explain them; do
    some few differ in single spots? Orbits with such spots are left out of the first
    two, and marked.

    Args:
        y: Image. Integers are counts.
        group: From `find_group`, or its name.
        centre: (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid: from the detector, never from the counts.
        noise: By default estimated.
        shaded: Whether a smooth factor may lie on the pattern, see
            `tvjax.symmetry.shading`. Only those spots are marked then that stand out
            from what else the orbits differ by.

    Raises:
        ValueError: For a centre outside the image, a mask under which no pixel has a
            partner, or values that are not finite under it.
    """
    group = find_group(group) if isinstance(group, str) else group
    noise = estimate_noise(y, mask) if noise is None else noise
    y, valid = check_pattern(y, mask)
    check_centre(centre, y.shape, group)
    measured = _measure(y, valid, group, settle(centre, group), noise, shaded=shaded)
    found = jax.tree.map(np.asarray, measured)
    rings = found.rings
    if not np.sum(rings.all_freedom) > 0:
        raise Untestable(
            f"no valid pixel has a valid partner under {group.name!r} about "
            f"{tuple(map(float, centre))}: its orbits are all masked. Check centre and "
            "mask (True means valid), or take another group."
        )
    chi_squared, freedom = rings.chi_squared, rings.freedom
    scatter = np.sqrt(rings.variance)
    ring = _chance(chi_squared, freedom, scatter)
    risky = ring < SIGNIFICANCE / max(np.sum(freedom > 0), 1)
    total = _chance(np.sum(chi_squared), np.sum(freedom), np.sqrt(np.sum(scatter**2)))
    shift, shift_chance = _shift(found, group)
    smooth = float(_chance(*found.blocks[:2], np.sqrt(found.blocks[2])))
    refused = min(total, smooth, shift_chance) <= SIGNIFICANCE
    doubtful = risky | refused
    # all of the mean where its ring shows nothing; else the share of least risk
    blend = rings.noise_share / np.maximum(rings.squares, 1e-30)
    blend = np.where(doubtful & (freedom > 0), np.clip(blend, 0, 1), 1.0)
    share = np.where(found.broken.differs, 0, blend[found.ring])
    if found.share is not None:
        blend, share = rings.share, found.share
    return Agreement(
        group=group.name,
        centre=(float(centre[0]), float(centre[1])),
        radius=found.radius,
        chi_squared=chi_squared,
        freedom=freedom,
        scatter=scatter,
        ring_significance=ring,
        blend=blend,
        share=share,
        significance=float(total),
        smooth_significance=smooth,
        shift=shift,
        shift_significance=shift_chance,
        broken_by_chance=broken_by_chance(group, int(np.sum(np.asarray(valid)))),
        broken_share=float(np.sum(found.broken.differs) / np.sum(np.asarray(valid))),
        broken=found.broken.differs,
        spot=found.broken.spot,
        shading=found.shading,
        window=None if found.window is None else float(found.window),
    )


class _Rings(NamedTuple):
    """By how much the orbits differ, by ring."""

    chi_squared: Array
    freedom: Array
    all_freedom: Array  # orbits that differ included
    variance: Array  # of chi-squared
    squares: Array
    noise_share: Array
    share: Array | None  # of the mean that is of least risk, where shaded


class _Measured(NamedTuple):
    """What orbits, offset and scan say."""

    rings: _Rings
    radius: Array  # of each ring
    ring: Array  # of each pixel
    blocks: Array  # chi-squared, freedom and its variance
    offset: Offset
    broken: Broken
    share: Array | None  # of the mean in each pixel, where shaded
    shading: Array | None
    window: Array | None


def _measure(
    y: Array, mask: Array, group: Group, centre: Point, noise: Noise, *, shaded: bool
) -> _Measured:
    """All that needs the image.

    In several programs: most are the same for all groups, and compiled once.
    """
    ring, radius = ring_of(y.shape, jnp.asarray(centre, y.dtype), y.dtype)
    factor = window = None
    if shaded:
        shading = find_shading(y, group, centre, mask, noise, ring, NUM_RINGS)
        factor, orbit, broken, window = shading
    else:
        orbit = orbit_mean(y, group, centre, mask)
        broken = find_broken(y, orbit, group, centre, mask, noise)
    # A spot and its ghost pull equally to both sides; only a ring's mean knows neither.
    # More than a few spots are what a wrong centre makes, and must speak.
    few_spots = jnp.mean(broken.differs, where=mask) < FEW_BROKEN
    alone = broken.differs & (few_spots | shaded) & group.continuous
    even = y if factor is None else y / factor
    offset = find_offset(even, group, centre, mask & ~alone, noise)
    rings, blocks, share = _compare(y, mask, orbit, broken.differs, ring, noise, shaded)
    return _Measured(rings, radius, ring, blocks, offset, broken, share, factor, window)


@partial(jax.jit, static_argnames="shaded")
def _compare(
    y: Array,
    mask: Array,
    orbit: Orbit,
    differs: Array,
    ring: Array,
    noise: Noise,
    shaded: bool,
) -> tuple[_Rings, Array, Array | None]:
    """Differences from the orbit mean by ring, over blocks and around each pixel."""
    seen = mask & orbit.mask & (orbit.freedom > 1e-6)
    level = noise.variance(orbit.mean)
    judged = seen & ~differs & (level > 0)
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
        share = jnp.where(differs, 0, share)
        total = by_ring(freedom)
        known = total > 0
        share_by_ring = by_ring(share * freedom) / jnp.where(known, total, 1)
        share_by_ring = jnp.where(known, share_by_ring, 1)
    safe = jnp.where(judged, level, 1)
    rings = _Rings(
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
    squares: Array, noise_share: Array, expected: Array, level: Array
) -> Array:
    """λ of least risk in the square around each pixel; one where chance explains it."""
    found, noise = box_sum(squares, SQUARE), box_sum(noise_share, SQUARE)
    chance = box_sum(expected, SQUARE)
    scatter = jnp.sqrt(2 * box_sum(expected * jnp.maximum(level, 0), SQUARE))
    known = found > chance + SURE * scatter
    return jnp.where(known, jnp.clip(noise / jnp.where(known, found, 1), 0, 1), 1)


def _blocks(difference: Array, level: Array, freedom: Array) -> Array:
    """Chi-squared of sums over blocks, its freedom and variance."""
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


@partial(jax.jit, static_argnums=(0, 2))
def ring_of(
    shape: tuple[int, int], centre: Point, dtype: np.dtype
) -> tuple[Array, Array]:
    """The ring of each pixel, of `NUM_RINGS`, and the middle radius of each ring."""
    place, width = ring_place(shape, centre, dtype)
    ring = jnp.clip(place.astype(jnp.int32), 0, NUM_RINGS - 1)
    return ring, width * (jnp.arange(NUM_RINGS, dtype=dtype) + 0.5)


def ring_place(
    shape: tuple[int, int], centre: Point, dtype: np.dtype
) -> tuple[Array, Array]:
    """The radius of each pixel in widths of a ring, and that width in pixels."""
    rows, columns = positions(shape, centre, dtype)
    radius = jnp.hypot(rows, columns)
    width = jnp.max(radius) * (1 + 1e-6) / NUM_RINGS
    return radius / width, width


def _rarity(orbit: Orbit, noise: Noise) -> Array:
    """1/S, what a total of S photons takes from the scatter of chi-squared."""
    if not isinstance(noise, Poisson):
        return jnp.zeros_like(orbit.mean)
    photons = orbit.mean * orbit.count / noise.gain.astype(orbit.mean.dtype)
    return jnp.minimum(1 / jnp.maximum(photons, 1), 1)


def _chance(
    chi_squared: ArrayLike, freedom: ArrayLike, scatter: ArrayLike
) -> np.ndarray:
    """Chance of more, from the gamma distribution of this mean and deviation."""
    known = (np.asarray(scatter) > 0) & (np.asarray(freedom) > 0)
    variance = np.where(known, np.square(scatter), 1)
    mean = np.where(known, freedom, 1)
    chance = gammaincc(mean**2 / variance, chi_squared * mean / variance)
    return np.where(known, np.asarray(chance), 1.0)


def _shift(found: _Measured, group: Group) -> tuple[tuple[float, float], float]:
    """The shift in the directions that the group fixes, and its chance."""
    axes = np.flatnonzero(determined(group))
    pick = np.ix_(axes, axes)
    score = np.float64(found.offset.score[axes])
    covariance = np.float64(found.offset.covariance[pick])
    scale = np.trace(covariance)
    if not scale > 0:
        return (0.0, 0.0), 1.0
    squared = score @ np.linalg.pinv(covariance, rcond=1e-6) @ score
    shift = np.zeros(2)
    shift[axes] = np.linalg.pinv(found.offset.information[pick], rcond=1e-6) @ score
    chance = gammaincc(len(axes) / 2, squared / 2)
    return (float(shift[0]), float(shift[1])), float(chance)
