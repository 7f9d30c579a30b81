"""Spots that stand clear of the noise, told from the raw data at a stated rate.

The sum O over a small square of n pixels is compared with the sum B over m pixels of
its surrounding. Where both have the same level, O is binomial given O + B,

    O ~ Binomial(O + B, n/(n + m)),

whatever the level: that is exact for counts, from a photon in a hundred pixels to
thousands a pixel, and allows for the background's being an estimate, too.
"""

import operator
from functools import partial, reduce
from statistics import NormalDist
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float, Int

from tvjax.filters import box_sum, dilate
from tvjax.noise import Noise, Poisson

# One false spot in ten images of a megapixel, as a number a pixel.
FALSE_RATE = 1e-7
# Sides of the squares whose sums are compared, in pixels: those of usual spots.
SIDES = (3, 5, 7)
# The surrounding is eight squares of this side around a ninth that holds the spot.
RING = 9
# Of a spot's squares, a pixel belongs to it where the sum over 3 x 3 pixels is so many
# deviations above the level.
LIFTED = 3.0
# A level is that of so many valid pixels at least.
LEAST_RING = 60
# A spot is so many times higher than the ridge, edge or slope that it may stand on.
CLEAR = 4.0
# Beyond its own side and this gap, a square's neighbors no longer share its spot.
GAP = 3
# No step from a square to another is longer.
FAR = max(RING, SIDES[-1] + GAP)
# Directions in which a ridge or an edge may run.
DIRECTIONS = 12
# A pixel with more than this share of what is in the square around it is no spot.
LONE_SHARE = 0.5
# Spots and defects are found, and left out of the levels around others, so often.
ROUNDS = 2
# The eight places around one, in order.
AROUND = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
# The scatter of the sums is taken from every so manieth row and column: a prime number,
# to fall in step with no module of a detector.
STRIDE = 7


def clear_spots(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    mask: Bool[Array, "frame height width"] | None = None,
    *,
    false_rate: float = FALSE_RATE,
) -> Bool[Array, "frame height width"]:
    """Find the spots that noise alone would hardly make.

    A matched filter of squares of 3, 5 and 7 pixels a side. A square has a spot in its
    middle if

    * chance would make its sum from the level around it in less than
      `false_rate`/3 of the pixels: the highest level of the half-rings around, so that
      neither side of an edge counts as a spot;
    * its excess is four times that of any ridge through it, which would be as high on
      both sides of it in some direction: smooth rings, streaks and edges are no spots;
    * it is so without the single pixels that hold more than half of all around: such a
      pixel is taken for a defect or a stray event, since a true spot has neighbors.

    The test is that of the binomial for Poisson noise, and of a normal deviate for any
    other. Where the sums scatter more than the noise lets them, by structure or because
    the noise is correlated, the bar rises with their scatter.

    Args:
        frames: Raw data, in their own unit.
        noise: Noise model of all frames.
        mask: True where a pixel is valid; the others count nowhere.
        false_rate: Greatest expected number of false spots, divided by that of the
            pixels.

    Returns:
        True where a spot is: of its squares, where the sums over 3 x 3 pixels are three
        deviations above the level.

    Raises:
        ValueError: The rate is not between 0 and 1.

    Example:
        >>> import jax.numpy as jnp, numpy as np, tvjax
        >>> counts = np.random.default_rng(0).poisson(0.1, (1, 64, 64)).astype(float)
        >>> counts[0, 30:33, 40:43] += 3
        >>> spots = clear_spots(jnp.asarray(counts, float), tvjax.Poisson())
        >>> bool(spots[0, 31, 41]), int(spots.sum()) < 30
        (True, True)
    """
    if not 0 < false_rate < 1:
        raise ValueError(f"`false_rate` must be between 0 and 1, got {false_rate}.")
    bar = jnp.float32(NormalDist().inv_cdf(1 - false_rate / len(SIDES)))
    valid = np.ones(frames.shape, bool) if mask is None else mask
    return _search_each(frames, noise, valid, bar)


@jax.jit
def _search_each(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    valid: Bool[Array, "frame height width"],
    bar: Float[Array, ""],
) -> Bool[Array, "frame height width"]:
    """The spots of one frame after the other."""

    def own(index: Int[Array, ""]) -> Noise:
        return jax.tree.map(lambda z: z[index] if jnp.ndim(z) == 3 else z, noise)

    def search(index: Int[Array, ""]) -> Bool[Array, "height width"]:
        return _search(frames[index], own(index), valid[index], bar)

    return lax.map(search, jnp.arange(len(frames)))


class _Clear(NamedTuple):
    """Squares of one size, or of each, given by their middles."""

    centre: Bool[Array, "*size height width"]  # a spot's, and in the middle of it
    stands: Bool[Array, "*size height width"]  # above chance, by whatever
    lifted: Bool[Array, "*size height width"]  # above the level, if only by little


class _Found(NamedTuple):
    """What is left out of the levels around others."""

    spots: Bool[Array, "height width"]
    lone: Bool[Array, "height width"]
    lifted: Bool[Array, "height width"]
    rounds: Int[Array, ""]


def _search(
    frame: Float[Array, "height width"],
    noise: Noise,
    valid: Bool[Array, "height width"],
    bar: Float[Array, ""],
) -> Bool[Array, "height width"]:
    """The spots of one frame."""
    y = _in_photons(frame, noise, valid)

    def search(found: _Found) -> _Found:
        sound = valid & ~found.lone
        # apart, because XLA would compute the same numbers many times over
        level = lax.optimization_barrier(_level(y, sound & ~found.spots))
        clear = lax.map(
            lambda size: _stands_clear(y, noise, sound, level, bar, size),
            jnp.arange(1 + len(SIDES)),
        )
        spots, lone = _spread_out(y, valid, found.lone, level, clear)
        return _Found(spots, lone, clear.lifted[1], found.rounds + 1)

    def unfinished(found: _Found) -> Bool[Array, ""]:
        some = jnp.any(found.spots | found.lone)
        return (found.rounds == 0) | ((found.rounds < ROUNDS) & some)

    nothing = jnp.zeros(y.shape, bool)
    start = _Found(nothing, nothing, nothing, jnp.zeros((), jnp.int32))
    found = lax.while_loop(unfinished, search, start)
    return found.spots & found.lifted


def _in_photons(
    y: Float[Array, "height width"], noise: Noise, valid: Bool[Array, "height width"]
) -> Float[Array, "height width"]:
    """The frame, over its gain if its noise is Poisson's, and zero where invalid."""
    if isinstance(noise, Poisson):
        y = y / jnp.where(noise.gain > 0, noise.gain, 1).astype(y.dtype)
    return jnp.where(valid, y, 0)


def _spread_out(
    y: Float[Array, "height width"],
    valid: Bool[Array, "height width"],
    lone: Bool[Array, "height width"],
    level: "_Level",
    clear: _Clear,
) -> tuple[Bool[Array, "height width"], Bool[Array, "height width"]]:
    """All squares of spots, and the pixels that are no spots of their own.

    Args:
        y: The frame.
        valid: True where a pixel is valid.
        lone: Pixels that are no spots of their own, as far as they are known.
        level: The level around each pixel.
        clear: Single pixels, and squares of each size.
    """
    squares = [
        dilate(clear.stands[i] & dilate(clear.centre[i], 2 * side - 1), side)
        for i, side in enumerate(SIDES, start=1)
    ]
    spots = reduce(operator.or_, squares) & valid
    excess = jnp.where(valid & ~lone, y - level.mean, 0)
    most = excess > LONE_SHARE * box_sum(excess, SIDES[1])
    return spots, lone | (clear.centre[0] & most)


class _Level(NamedTuple):
    """The level around each pixel, spots and defects left out."""

    highest: Float[Array, "height width"]  # of the half-rings
    pixels: Float[Array, "height width"]  # of the smallest half; 0 if none is known
    mean: Float[Array, "height width"]  # of the whole ring


def _level(
    y: Float[Array, "height width"], calm: Bool[Array, "height width"]
) -> _Level:
    """The means of half the squares around, and of all, where they hold enough."""
    total = box_sum(jnp.where(calm, y, 0), RING)
    count = box_sum(calm.astype(y.dtype), RING)
    squares = np.multiply(RING, AROUND)
    totals, counts = _shifted(total, squares), _shifted(count, squares)
    pixels = sum(counts)
    mean = sum(totals) / jnp.maximum(pixels, 1)
    halves = [tuple((first + i) % len(AROUND) for i in range(3)) for first in range(8)]
    held = [sum(counts[i] for i in half) for half in halves]
    levels = [
        jnp.where(
            some >= LEAST_RING,
            sum(totals[i] for i in half) / jnp.maximum(some, 1),
            -jnp.inf,
        )
        for half, some in zip(halves, held, strict=True)
    ]
    fewest = reduce(
        jnp.minimum, [jnp.where(some >= LEAST_RING, some, jnp.inf) for some in held]
    )
    some = jnp.where(jnp.isfinite(fewest), fewest, 0)
    return _Level(reduce(jnp.maximum, levels), some, mean)


def _stands_clear(
    y: Float[Array, "height width"],
    noise: Noise,
    sound: Bool[Array, "height width"],
    level: _Level,
    bar: Float[Array, ""],
    size: Int[Array, ""],
) -> _Clear:
    """Whether a square's sum is above chance, and above that of a ridge through it.

    Args:
        y: The frame.
        noise: Its noise model.
        sound: True where a pixel counts.
        level: The level around each pixel.
        bar: Normal deviate of what is above chance.
        size: 0 for single pixels, else the number of the side in `SIDES`.
    """
    sides = (1, *SIDES)
    side = jnp.asarray(sides)[size]
    sums = [partial(box_sum, side=side) for side in sides]
    total = lax.switch(size, sums, jnp.where(sound, y, 0))
    count = lax.switch(size, sums, sound.astype(y.dtype))
    mean = jnp.where(2 * count > side**2, total / jnp.maximum(count, 1), -jnp.inf)
    total, count, mean = lax.optimization_barrier((total, count, mean))
    known = sound & (level.pixels > 0) & jnp.isfinite(mean)
    share = count / jnp.maximum(count + level.pixels, 1)

    def normal(around: Float[Array, "height width"]) -> Float[Array, "height width"]:
        one = around if isinstance(noise, Poisson) else noise.variance(around)
        variance = count * jnp.maximum(one, 0) / (1 - share)
        difference = total - count * around
        certain = jnp.where(difference > 0, jnp.inf, 0)
        deviate = difference / jnp.sqrt(jnp.where(variance > 0, variance, 1))
        return jnp.where(variance > 0, deviate, certain)

    if isinstance(noise, Poisson):
        deviate = binomial_deviate(total, level.pixels * level.highest, share)
    else:
        deviate = normal(level.highest)
    spread = _spread(jnp.where(known, normal(level.mean), jnp.nan))
    stands = known & (deviate > bar * jnp.maximum(spread, 1))

    # a ridge is high on both sides, or on the one that is known; within a pixel,
    # because it may be narrow, bent, and run between the directions
    nearby = reduce(
        jnp.maximum, _shifted(mean, np.asarray([(0, 0), *AROUND]), -jnp.inf)
    )
    nearby = lax.optimization_barrier(nearby)
    steps = jnp.asarray([_directions(side + GAP) for side in sides])[size]
    ahead = _shifted(nearby, steps, -jnp.inf)
    behind = _shifted(nearby, -steps, -jnp.inf)
    ridge = reduce(jnp.maximum, map(_lower, ahead, behind))
    # what only reaches into a square belongs to a neighbor of it
    beside = (side // 2 + 1) * jnp.asarray(AROUND)
    centre = mean >= reduce(jnp.maximum, _shifted(mean, beside, -jnp.inf))
    high = mean - level.mean > CLEAR * (ridge - level.mean)
    return _Clear(stands & centre & high, stands, known & (deviate > LIFTED))


def _lower(
    a: Float[Array, "height width"], b: Float[Array, "height width"]
) -> Float[Array, "height width"]:
    """The lower of two levels, or the one that is known."""
    return jnp.where(
        jnp.isfinite(a) & jnp.isfinite(b), jnp.minimum(a, b), jnp.maximum(a, b)
    )


def binomial_deviate(
    inside: Float[Array, "*shape"],
    outside: Float[Array, "*shape"],
    share: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """The normal deviate of the chance that at least so many of all fall inside.

        Φ(−z) = P(X ≥ inside),    X ~ Binomial(inside + outside, share)

    by the saddlepoint, corrected for whole numbers: within 6 % of the chance. Zero
    where no more than a deviation above what is expected are inside.

    Lugannani, Rice 1980 (10.2307/1426607); Barndorff-Nielsen 1986
    (10.1093/biomet/73.2.307).

    Args:
        inside: Counts inside.
        outside: Counts outside.
        share: Chance of a count to be inside, between 0 and 1.
    """
    tries = inside + outside
    k, rest = inside - 0.5, outside + 0.5
    mean, left = tries * share, tries * (1 - share)
    above = (k - mean > jnp.sqrt(mean)) & (share > 0) & (share < 1)
    k, rest, mean, left = (
        jnp.where(above, z, w)
        for z, w in zip((k, rest, mean, left), (2.0, 1.0, 1.0, 2.0), strict=True)
    )
    deviance = _deviance(k, mean) + _deviance(rest, left)
    w = jnp.sqrt(2 * deviance)
    slope = jnp.log(k / mean) - jnp.log(rest / left)
    u = 2 * jnp.sinh(slope / 2) * jnp.sqrt(k * rest / (k + rest))
    return jnp.where(above, w + jnp.log(u / w) / w, 0)


def _deviance(
    k: Float[Array, "*shape"], mean: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The term k ln(k/mean) − (k − mean), without cancellation."""
    excess = (k - mean) / mean
    return mean * ((1 + excess) * jnp.log1p(excess) - excess)


def _directions(distance: int) -> Int[np.ndarray, "step 2"]:
    """Steps of so many pixels along half of all directions."""
    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    steps = np.rint(distance * np.stack([np.sin(angles), np.cos(angles)], axis=1))
    return steps.astype(int)


def _shifted(
    z: Float[Array, "height width"],
    steps: Int[np.ndarray, "step 2"] | Int[Array, "step 2"],
    fill: float = 0.0,
) -> list[Float[Array, "height width"]]:
    """The values so many rows further down and columns further right."""
    wide = jnp.pad(z, FAR, constant_values=fill)
    return [
        lax.dynamic_slice(wide, (FAR + step[0], FAR + step[1]), z.shape)
        for step in steps
    ]


def _spread(deviate: Float[Array, "height width"]) -> Float[Array, ""]:
    """What normal deviates have one of, from their median; 0 if none is known.

    Half of them are nearer to zero than 0.6745 of their standard deviation.
    """
    median = jnp.nanmedian(jnp.abs(deviate[::STRIDE, ::STRIDE]))
    return jnp.nan_to_num(median) / 0.6745
