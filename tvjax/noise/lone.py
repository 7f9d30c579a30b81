"""Pixels that stand alone: defects and stray events, which no optics can make."""

import numpy as np
from jaxtyping import Bool, Float

# A pixel stands alone if it is above or below all neighbors by so many deviations of
# the noise, and by so many times the greatest of them.
LONE, TIMES = 12.0, 3.0
# The noise is told by so many pixels of more.
ENOUGH = 2**18


def lone_pixels(
    images: Float[np.ndarray, "image height width"],
    valid: Bool[np.ndarray, "image height width"],
    step: float = 0.0,
) -> Bool[np.ndarray, "image height width"]:
    """Find pixels far above or below all their neighbors.

    A pixel of value z stands alone if, for one of both signs,

        ±z > max ±z_j + 12 σ + 3 |max ±z_j|    over its eight neighbors j,

    with σ the median of mixed differences, as of white noise, and no less than a step
    of the values. A spot wider than half a pixel (its deviation) is none: the nearest
    of its neighbors holds a quarter of its middle.

    Args:
        images: Values, finite where valid.
        valid: True where a pixel is valid; the others are no neighbors.
        step: The least difference of two values, such as a count; 0 if there is none.
    """
    found = np.zeros(images.shape, bool)
    if min(images.shape[1:]) < 3:
        return found
    noise = max(_noise(images, valid), step)
    if noise == 0:
        return found
    rows, columns = images.shape[1:]
    for sign in (1, -1):
        z = np.full((len(images), rows + 2, columns + 2), -np.inf, images.dtype)
        z[:, 1:-1, 1:-1] = np.where(valid, sign * images, -np.inf)
        # few are above the pixel before them: only these are looked at all around
        with np.errstate(invalid="ignore"):
            above = z[:, 1:-1, 1:-1] - z[:, 1:-1, :-2] > LONE * noise
        frame, row, column = np.nonzero(above & valid)
        around = np.max(
            [
                z[frame, row + down, column + right]
                for down in range(3)
                for right in range(3)
                if (down, right) != (1, 1)
            ],
            axis=0,
        )
        excess = z[frame, row + 1, column + 1].astype(float) - around
        alone = excess > LONE * noise + TIMES * np.abs(around)
        found[frame[alone], row[alone], column[alone]] = True
    return found


def _noise(
    images: Float[np.ndarray, "image height width"],
    valid: Bool[np.ndarray, "image height width"],
) -> float:
    """The deviation of white noise, from mixed differences of four pixels."""
    every = max(1, images.size // ENOUGH)
    rows, columns = (size - 1 for size in images.shape[1:])

    def four(z: np.ndarray) -> list[np.ndarray]:
        return [
            z[:, i : rows + i : every, j : columns + j] for i in (0, 1) for j in (0, 1)
        ]

    good = np.logical_and.reduce(four(valid))
    first, right, below, across = (z[good] for z in four(images))
    if not first.size:
        return 0.0
    return float(np.median(np.abs(across - right - below + first))) / (2 * 0.6745)
