"""Blocks of pixels: their mean, how noisy they are, and how much structure they hold.

The noise of a block is the power y filtered to the highest frequencies, where scenes
have least; its structure is that of the slopes of y smoothed, which have almost none of
these frequencies: white noise in the one tells nothing of the other, so that blocks
chosen by the second have the noise of all.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tvjax.noise.sample import Sample, sum_squares

# Side of a block in pixels: it holds enough of them for a variance, and little
# structure.
BLOCK = 8
# Share of a block's pixels that has to be valid.
LEAST_SHARE = 0.4
# A value at the end of the range is where a camera clips if it is the value of more
# than this share of all pixels; a block is clipped with this share of its own.
TIED, CLIPPED = 1e-3, 0.1
# Second differences take out planes and curves; two axes of three pixels each.
CURVATURE = np.asarray([1, -2, 1]) / 6**0.5
# Fourth differences are all but confined to the very highest frequencies.
FINEST = np.asarray([1, -4, 6, -4, 1]) / 70**0.5
# First differences, for images too small for second ones.
SLOPE = np.asarray([1, -1]) / 2**0.5
# Smooths away the highest frequencies.
SMOOTH = np.asarray([1, 2, 1]) / 4
# The second differences of white noise at neighboring places are correlated: so many
# count as one.
SHARED = (1 + 2 * (4 / 6) ** 2 + 2 * (1 / 6) ** 2) ** 2


class BlockPowers(NamedTuple):
    """What is known of each block that has enough valid pixels.

    Attributes:
        mean: Mean of the pixels.
        power: Mean square of the highest frequencies: the variance of white noise.
        freedom: Degrees of freedom in that.
        activity: Mean square of the slopes of the smoothed pixels.
        coarse: The power of sums over 2 x 2 pixels, over 4: the variance of white noise
            again, of noise whose neighbors are alike more. NaN where there is none.
        finest: The power of still higher frequencies: that of white noise again,
            whatever the texture, and less if there is a blur. NaN where there is none.
        places: Frame, row and column of the middle of each.
    """

    mean: Float[np.ndarray, " block"]
    power: Float[np.ndarray, " block"]
    freedom: Float[np.ndarray, " block"]
    activity: Float[np.ndarray, " block"]
    coarse: Float[np.ndarray, " block"]
    finest: Float[np.ndarray, " block"]
    places: Float[np.ndarray, "block 3"]

    def part(self, chosen: np.ndarray) -> "BlockPowers":
        """Some of the blocks, in the order asked for."""
        return BlockPowers(*(values[chosen] for values in self))


def filtered(
    z: Float[np.ndarray, "tile row column"], kernel: Float[np.ndarray, " tap"]
) -> Float[np.ndarray, "tile rows columns"]:
    """Z filtered along both axes, where the filter does not reach beyond the tile."""
    for axis in (1, 2):
        length = z.shape[axis] - len(kernel) + 1
        at = [slice(None)] * 3
        total = np.zeros(())
        for start, tap in enumerate(kernel):
            at[axis] = slice(start, start + length)
            total = total + tap * z[tuple(at)]
        z = total
    return z


def covered(
    valid: Bool[np.ndarray, "tile row column"], taps: int
) -> Bool[np.ndarray, "tile rows columns"]:
    """Where all pixels that a filter of so many taps looks at are valid."""
    for axis in (1, 2):
        length = valid.shape[axis] - taps + 1
        at = [slice(None)] * 3
        total = np.ones((), bool)
        for start in range(taps):
            at[axis] = slice(start, start + length)
            total = total & valid[tuple(at)]
        valid = total
    return valid


def block_statistics(sample: Sample, side: int = BLOCK) -> BlockPowers:
    """The statistics of blocks, the same number of pixels along both sides.

    Blocks without any noise are left out: they are saturated, or in a shadow.
    """
    tiles, valid = sample.tiles, sample.valid
    side = min(side, *tiles.shape[1:])
    kernel, shared = (CURVATURE, SHARED) if side >= 5 else (SLOPE, 2.25)
    grid = tuple(size // side for size in tiles.shape[1:])

    def sums(z: np.ndarray, margin: int, step: int = 1) -> np.ndarray:
        """Sums over each block of what a filter left, zeros where it did not reach."""
        size = side // step
        shape = tuple(n * size for n in grid)
        full = np.zeros((len(z), *shape))
        cut = z[:, : shape[0] - margin, : shape[1] - margin]
        full[:, margin : margin + cut.shape[1], margin : margin + cut.shape[2]] = cut
        return full.reshape(-1, grid[0], size, grid[1], size).sum((2, 4)).ravel()

    def mean_square(
        z: np.ndarray, good: np.ndarray, margin: int, step: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        count = sums(good, margin, step)
        with np.errstate(invalid="ignore"):
            return sums(np.where(good, z, 0), margin, step) / np.where(
                count > 0, count, np.nan
            ), count

    margin = len(kernel) // 2
    good = covered(valid, len(kernel))
    power, count = mean_square(filtered(tiles, kernel) ** 2, good, margin)
    mean, pixels = mean_square(tiles, valid, 0)
    if side >= 5:
        smooth, good = filtered(tiles, SMOOTH), covered(valid, 5)
        slopes = (smooth[:, 1:-1, 2:] - smooth[:, 1:-1, :-2]) ** 2
        slopes += (smooth[:, 2:, 1:-1] - smooth[:, :-2, 1:-1]) ** 2
        activity, _ = mean_square(slopes, good, 2)
    else:
        activity = power
    coarse, finest = np.full((2, *power.shape), np.nan)
    if side >= BLOCK:
        pairs = sum_squares(sample)
        good = covered(pairs.valid, len(kernel))
        coarse, _ = mean_square(filtered(pairs.tiles, kernel) ** 2, good, margin, 2)
        good = covered(valid, len(FINEST))
        finest, _ = mean_square(filtered(tiles, FINEST) ** 2, good, len(FINEST) // 2)

    rows, columns = ((np.arange(n) + 0.5) * side for n in grid)
    inside = np.stack(np.meshgrid([0], rows, columns, indexing="ij"), -1).reshape(-1, 3)
    places = (sample.places[:, None] + inside).reshape(-1, 3)
    enough = (count > LEAST_SHARE * count.max(initial=0)) & np.isfinite(activity)
    enough &= (power > 0) & ~_clipped(sample, sums, pixels, mean)
    return BlockPowers(
        mean, power, count / shared, activity, coarse, finest, places
    ).part(enough)


def _clipped(
    sample: Sample,
    sums: Callable[..., Float[np.ndarray, " block"]],
    pixels: Float[np.ndarray, " block"],
    mean: Float[np.ndarray, " block"],
) -> Bool[np.ndarray, " block"]:
    """Blocks with many pixels at the end of the range of values.

    Zeros are no clipping where so many of them are to be expected of counts.
    """
    tiles, valid = sample.tiles, sample.valid
    if not valid.any():
        return np.zeros(pixels.shape, bool)
    ends = (
        tiles.min(where=valid, initial=np.inf),
        tiles.max(where=valid, initial=-np.inf),
    )
    found = np.zeros(pixels.shape, bool)
    for end in ends:
        at_end = valid & (tiles == end)
        if end == 0 and sample.step:
            expected = np.exp(-np.maximum(mean, 0) / sample.step)
        elif np.mean(at_end[valid]) > TIED:
            expected = np.zeros_like(mean)
        else:
            continue
        share = sums(at_end, 0) / np.maximum(pixels, 1)
        found |= share > CLIPPED + 1.5 * expected
    return found
