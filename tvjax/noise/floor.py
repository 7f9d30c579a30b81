"""The variance of noise below the structure of a scene, and how it follows the mean.

Structure only adds to the variance of a block. What blocks of about one mean have in
common is the least that enough of them agree on: their floor.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tvjax.noise.blocks import BlockPowers

# Shares of the blocks, the quietest first, whose variances are compared.
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
# Least degrees of freedom of a floor: its deviation is known to 5 %.
LEAST_FREEDOM = 200
# A greater share of the blocks is taken if its variance is above the least by no more
# than so many standard errors.
AGREE = 1.5
# What structure that no statistic sees may add, relative to a floor.
UNSEEN = 0.03
# Blocks whose mean is below this share of that of others, beyond so many deviations of
# chance, are compared with none of these.
DIM, CLEARLY = 0.5, 6.0
# Blocks a floor is made of, as a rule, and the greatest number of floors.
BLOCKS_A_FLOOR = 96
MOST_FLOORS = 16


class Floors(NamedTuple):
    """The least variance at several means, or in several places.

    Attributes:
        mean: Mean of the blocks.
        variance: The variance that enough of the quiet ones agree on.
        error: Its relative standard error.
        coarse: The same of sums over 2 x 2 pixels, over the variance.
        finest: The power of still higher frequencies, over the variance.
        share: Share of the blocks that agree.
    """

    mean: Float[np.ndarray, " floor"]
    variance: Float[np.ndarray, " floor"]
    error: Float[np.ndarray, " floor"]
    coarse: Float[np.ndarray, " floor"]
    finest: Float[np.ndarray, " floor"]
    share: Float[np.ndarray, " floor"]


def floor_of(blocks: BlockPowers) -> tuple[float, float, BlockPowers]:
    """The least variance that enough quiet blocks agree on, its error, and those."""
    quiet = blocks.part(np.argsort(blocks.activity, kind="stable"))
    weight = np.cumsum(quiet.freedom)
    value = np.cumsum(quiet.freedom * quiet.power) / weight
    best, least, error_of_least = len(weight), np.inf, 0.0
    found = np.inf
    for share in SHARES:
        count = max(int(np.ceil(share * len(weight))), 1)
        if weight[count - 1] < LEAST_FREEDOM and share < 1:
            continue
        variance = value[count - 1]
        # squares of one block after another, so that a spot raises the error, too
        spread = np.sqrt(2 / weight[count - 1])
        if variance < least:
            least, error_of_least = variance, spread * variance
        if found == np.inf or variance <= least + AGREE * error_of_least:
            found, best = variance, count
    return (
        float(found),
        float(np.sqrt(2 / weight[best - 1])),
        quiet.part(np.arange(best)),
    )


def floors_of(groups: list[BlockPowers]) -> Floors:
    """The floor of each group of blocks."""
    rows = []
    for group in groups:
        variance, error, quiet = floor_of(group)
        mean = np.average(quiet.mean, weights=quiet.freedom)
        coarse, finest = (
            _known_mean(z) / variance if variance > 0 else np.nan
            for z in (quiet.coarse, quiet.finest)
        )
        rows.append(
            (mean, variance, error, coarse, finest, len(quiet.mean) / len(group.mean))
        )
    return Floors(*np.asarray(rows, float).reshape(-1, 6).T)


def by_mean(blocks: BlockPowers) -> list[BlockPowers]:
    """Groups of blocks of about the same mean, those of least mean first.

    There are as many in each, but that a shadow has one of its own however small it is:
    there, what the detector adds to the noise of photons shows most.
    """
    order = np.argsort(blocks.mean, kind="stable")
    if not len(order):
        return []
    count = int(np.clip(len(order) // BLOCKS_A_FLOOR, 1, MOST_FLOORS))
    first, *others = (blocks.part(part) for part in np.array_split(order, count))
    dim = []
    while (shadow := _shadow(first)).any():
        dim.append(first.part(~shadow))
        first = first.part(shadow)
    return [first, *reversed(dim), *others]


def _shadow(blocks: BlockPowers) -> Bool[np.ndarray, " block"]:
    """Blocks that are plainly dimmer than most, where they are enough for a floor."""
    middle = np.median(blocks.mean)
    chance = np.sqrt(np.median(blocks.power / blocks.freedom))
    dim = (blocks.mean > 0) & (blocks.mean < DIM * middle)
    dim &= middle - blocks.mean > CLEARLY * chance
    enough = blocks.freedom[dim].sum() >= LEAST_FREEDOM
    return dim if enough else np.zeros_like(dim)


def _known_mean(values: Float[np.ndarray, " block"]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan
