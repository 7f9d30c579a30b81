"""A sample of the pixels of images, large enough to tell their noise by."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from tvjax.arguments import as_full_mask, as_numpy
from tvjax.noise.lone import lone_pixels

# One mask for all images, or one for each.
Mask: TypeAlias = Bool[ArrayLike, "*frames height width"] | None

# Greatest number of pixels that are looked at: more are sampled in tiles.
SAMPLE = 2**20
# Side in pixels of the tiles of a sample.
TILE = 128
# Every so many tiles one is among the dimmest, of those looked at: as dim as the pixel
# at this share of its values.
DIMMEST, DIM = 16, 1 / 16
# Tiles are judged by every so many rows and columns.
STRIDE = 8
# The golden section spreads any number of places evenly.
GOLDEN = (5**0.5 - 1) / 2
# Fewer pixels than this that are not zero do not tell a lattice from chance.
FEW = 16


class Sample(NamedTuple):
    """Tiles of images, or all of them where they are few.

    Attributes:
        tiles: Values, zero where invalid.
        valid: True where a pixel is valid, and is no lone one.
        places: Frame, row and column of the first pixel of each.
        shape: Shape of all images.
        step: The greatest number of which all values are multiples; 0 where they are
            no whole numbers.
        lone: Number of pixels far from all their neighbors.
    """

    tiles: Float[np.ndarray, "tile row column"]
    valid: Bool[np.ndarray, "tile row column"]
    places: Int[np.ndarray, "tile 3"]
    shape: tuple[int, int, int]
    step: int
    lone: int


def take_sample(y: Num[ArrayLike, "*stack height width"], mask: Mask = None) -> Sample:
    """All of the images if they are few, else tiles spread evenly over them.

    Args:
        y: One image, or images with the same noise.
        mask: True where a pixel is valid, in one image or in each.

    Raises:
        ValueError: The images have less than 2 x 2 pixels, or no valid one.
    """
    values = as_numpy(y)
    shape = values.shape
    if len(shape) < 2 or min(shape[-2:]) < 2:
        raise ValueError(
            "the noise is estimated from neighboring pixels and needs images of at "
            f"least 2 x 2, got shape {shape}; give the noise model instead."
        )
    if np.iscomplexobj(values):
        raise ValueError("`y` must be real, got complex values.")
    valid = np.asarray(as_full_mask(mask, shape, shape[-2:]))
    if not valid.any():
        raise ValueError("`mask` leaves no valid pixel to estimate the noise from.")
    images = values.reshape(-1, *shape[-2:])
    valid = valid.reshape(images.shape)
    places, (rows, columns) = _places(images, valid)

    def cut(z: np.ndarray) -> np.ndarray:
        return np.stack([z[f, r : r + rows, c : c + columns] for f, r, c in places])

    good, values = cut(valid), cut(images)
    if np.issubdtype(values.dtype, np.inexact):
        good = good & np.isfinite(values)
    tiles = np.where(good, values, 0).astype(np.float64)
    step = _step(tiles)
    lone = lone_pixels(tiles, good, step)
    shape = (len(images), *images.shape[1:])
    return Sample(tiles, good & ~lone, places, shape, step, int(lone.sum()))


def sum_squares(sample: Sample) -> Sample:
    """Sums over 2 x 2 pixels, over 2: white noise keeps its variance."""
    tiles, valid = sample.tiles, sample.valid
    rows, columns = (size // 2 for size in tiles.shape[1:])
    shape = (len(tiles), rows, 2, columns, 2)

    def fours(z: np.ndarray) -> np.ndarray:
        return z[:, : 2 * rows, : 2 * columns].reshape(shape)

    return sample._replace(
        tiles=fours(tiles).sum((2, 4)) / 2,
        valid=np.logical_and.reduce(fours(valid), axis=(2, 4)),
    )


def _places(
    images: Num[np.ndarray, "frame height width"],
    valid: Bool[np.ndarray, "frame height width"],
) -> tuple[Int[np.ndarray, "tile 3"], tuple[int, int]]:
    """Where the tiles begin, and their height and width."""
    frames, height, width = images.shape
    if frames * height * width <= SAMPLE:
        starts = np.zeros((frames, 3), int)
        starts[:, 0] = np.arange(frames)
        return starts, (height, width)
    sides = (min(TILE, height), min(TILE, width))
    grid = (frames, height // sides[0], width // sides[1])
    total = int(np.prod(grid))
    wanted = min(total, max(1, SAMPLE // (sides[0] * sides[1])))
    # every tile once, in an order whose beginning is spread evenly
    spread = np.argsort(np.arange(total) * GOLDEN % 1)[: 4 * wanted]
    steps = np.asarray([1, *sides])
    starts = np.stack(np.unravel_index(spread, grid), 1) * steps
    # tiles outside the detector tell little: those with valid pixels come first
    invalid, dark = [], []
    for f, r, c in starts:
        at = (f, slice(r, r + sides[0], STRIDE), slice(c, c + sides[1], STRIDE))
        good = valid[at]
        invalid.append(good.mean() < 0.5)
        values = np.sort(images[at][good])
        dark.append(values[int(DIM * len(values))] if len(values) else np.inf)
    order = np.argsort(np.asarray(invalid), kind="stable")
    # what a detector adds to the noise of photons shows most where there are few
    darkest = np.lexsort((np.asarray(dark), np.asarray(invalid)))
    first = np.concatenate([darkest[: wanted // DIMMEST], order])
    _, seen = np.unique(first, return_index=True)
    best = first[np.sort(seen)][:wanted]
    return starts[best], sides


def _step(tiles: Float[np.ndarray, "tile row column"]) -> int:
    """The greatest common divisor of whole numbers, 0 of others."""
    if not (np.round(tiles) == tiles).all() or np.abs(tiles).max() >= 2**53:
        return 0
    values = np.abs(tiles[tiles != 0]).astype(np.int64)
    if len(values) < FEW:
        return 1
    return int(np.gcd.reduce(values))
