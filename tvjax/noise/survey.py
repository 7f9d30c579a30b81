"""What blocks of an image tell of its noise: statistics and floors, at two scales."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from tvjax.noise.blocks import BLOCK, block_statistics, BlockPowers
from tvjax.noise.floor import by_mean, Floors, floors_of
from tvjax.noise.sample import Mask, Sample, sum_squares, take_sample
from tvjax.noise.variance_fit import constant, Law

# Photons that a block needs to tell a variance, and the greatest side of one.
PHOTONS, LARGEST = 30, 64


class NoiseSurvey(NamedTuple):
    """A sample, its blocks, and their floors at several means.

    Attributes:
        sample: Values of pixels.
        blocks: Statistics of the blocks.
        floors: Least variance at several means; empty where no block has any noise.
    """

    sample: Sample
    blocks: BlockPowers
    floors: Floors


def survey_noise(
    y: Num[ArrayLike, "*stack height width"], mask: Mask = None
) -> NoiseSurvey:
    """Look at the noise of images.

    Raises:
        ValueError: The images have less than 2 x 2 pixels, or no valid one.
    """
    sample = take_sample(y, mask)
    blocks = block_statistics(sample, _side(sample))
    return NoiseSurvey(sample, blocks, floors_of(by_mean(blocks)))


def relative_floor(blocks: BlockPowers, law: Law) -> float:
    """The floor of blocks over what a law says of their variance."""
    relative = relative_to(blocks, law)
    return constant(floors_of(by_mean(relative))).a


def relative_to(blocks: BlockPowers, law: Law) -> BlockPowers:
    """Blocks with all powers over the variance that a law gives to their mean."""
    variance = law.variance(blocks.mean)
    known = blocks.part(variance > 0)
    v: Float[np.ndarray, " block"] = variance[variance > 0]
    return known._replace(
        power=known.power / v,
        activity=known.activity / v,
        coarse=known.coarse / v,
        finest=known.finest / v,
    )


def scale_ratio(survey: NoiseSurvey, law: Law) -> float:
    """The floor of sums over 2 x 2 pixels over that of pixels: 1 for white noise."""
    sample = sum_squares(survey.sample)
    if min(sample.tiles.shape[1:]) < BLOCK:
        return np.nan
    side = _side(sample)
    blocks = block_statistics(sample, side)
    blocks = blocks._replace(mean=blocks.mean / 2)  # sums of four, over two
    if not len(blocks.mean) or not len(survey.blocks.mean):
        return np.nan
    fine = relative_floor(survey.blocks, law)
    return relative_floor(blocks, law) / fine if fine > 0 else np.nan


def _side(sample: Sample) -> int:
    """Side of the blocks: of sparse counts they are larger, to hold some photons."""
    if not sample.step:
        return BLOCK
    mean = sample.tiles.sum(where=sample.valid) / max(sample.valid.sum(), 1)
    side = BLOCK
    most = min(LARGEST, *(size // 2 for size in sample.tiles.shape[1:]))
    while abs(mean) / sample.step * side**2 < PHOTONS and 2 * side <= most:
        side *= 2
    return side
