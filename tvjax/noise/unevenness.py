"""Where over the frames the noise is stronger than elsewhere."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from tvjax.noise.blocks import BlockPowers
from tvjax.noise.floor import Floors, floors_of

# Blocks in a patch of a frame, as a rule, and the most patches along a side.
BLOCKS_A_PATCH, MOST_PATCHES = 48, 8
# How much the patches around count, next to a typical one.
AROUND = 0.1
# A patch whose coarse noise is so many times its fine one is full of texture: its level
# tells nothing.
TEXTURED = 1.6


class PatchLevels(NamedTuple):
    """The floors of patches of the frames.

    Attributes:
        floors: The floor of each patch that has enough blocks.
        cells: Frame, row and column of each among the patches.
        grid: How many patches there are along each axis.
    """

    floors: Floors
    cells: Int[np.ndarray, "patch 3"]
    grid: tuple[int, int, int]

    @property
    def trusted(self) -> Bool[np.ndarray, " patch"]:
        """Patches without texture all over them."""
        return ~(self.floors.coarse > TEXTURED)


def levels_of(relative: BlockPowers, shape: tuple[int, int, int]) -> PatchLevels:
    """The floor of each patch of the frames that has enough blocks.

    Args:
        relative: Blocks over the variance that is expected of them.
        shape: Shape of all frames.
    """
    frames = shape[0]
    sides = int(np.sqrt(len(relative.mean) / frames / BLOCKS_A_PATCH))
    sides = int(np.clip(sides, 1, MOST_PATCHES))
    grid = (frames, sides, sides)
    cells = (relative.places / shape * grid).astype(int)
    cells = np.minimum(cells, np.asarray(grid) - 1)
    index = np.ravel_multi_index(tuple(cells.T), grid)
    numbers, counts = np.unique(index, return_counts=True)
    numbers = numbers[counts >= BLOCKS_A_PATCH / 3]
    groups = [relative.part(index == number) for number in numbers]
    return PatchLevels(
        floors_of(groups), np.stack(np.unravel_index(numbers, grid), 1), grid
    )


def level_map(
    levels: PatchLevels, shape: tuple[int, int, int]
) -> Float[np.ndarray, "frame height width"]:
    """The variance over what is expected, in every pixel, between the patches."""
    known, grid = levels.trusted, levels.grid
    logs, weights = np.zeros(grid), np.zeros(grid)
    at = tuple(levels.cells[known].T)
    logs[at] = np.log(levels.floors.variance[known])
    weights[at] = levels.floors.error[known] ** -2
    # a patch of its own precision, or what is around it
    reach = (0, 1.0, 1.0)
    near = ndimage.gaussian_filter(weights, reach, mode="nearest")
    around = ndimage.gaussian_filter(weights * logs, reach, mode="nearest")
    typical = np.sum(weights * logs) / np.sum(weights)
    filled = np.where(near > 0, around / np.where(near > 0, near, 1), typical)
    own = weights / (weights + AROUND * np.median(weights[at]))
    logs = own * logs + (1 - own) * filled
    frames = []
    for frame in logs:
        # half a patch beyond the middles of the outer ones the trend goes on
        rim = [(min(count - 1, 1),) * 2 for count in frame.shape]
        wide = np.pad(frame, rim, mode="reflect", reflect_type="odd")
        places = [
            (np.arange(size) + 0.5) * count / size - 0.5 + extra
            for size, count, (extra, _) in zip(shape[1:], frame.shape, rim, strict=True)
        ]
        rows, columns = np.meshgrid(*places, indexing="ij")
        frames.append(
            ndimage.map_coordinates(wide, [rows, columns], order=1, mode="nearest")
        )
    return np.exp(np.stack(frames))
