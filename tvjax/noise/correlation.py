"""How alike the noise of neighboring pixels is, read off where the scene is quiet."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from tvjax.noise.blocks import BlockPowers
from tvjax.noise.sample import Sample

# Side in pixels of the windows that the autocovariance is taken in.
WINDOW = 16
# Farthest pixel, along each axis, with which noise is taken to be correlated.
REACH = 4
# Quiet are windows of up to so many times the activity that the quietest have.
QUIET, TIMES = 0.1, 1.6
# Most windows that are looked at: their mean is known to a percent.
MOST_WINDOWS = 1024
# How often the bias by the plane taken out of each window is corrected.
ROUNDS = 6


def autocovariance(
    sample: Sample, blocks: BlockPowers, variance: Float[np.ndarray, " block"]
) -> tuple[Float[np.ndarray, "lag lag"], float]:
    """Autocovariance of the noise over its variance at the finest, and where.

    Args:
        sample: Values of the pixels.
        blocks: Statistics of blocks of `WINDOW` pixels a side.
        variance: What the noise of each is relative to.

    Returns:
        The autocovariance at lags from −`REACH` to `REACH` along both axes, over the
        variance; and the share of the windows that were quiet. NaN where none was.
    """
    activity = blocks.activity / np.maximum(variance, 1e-300)
    if not len(activity) or min(sample.tiles.shape[1:]) < WINDOW:
        return np.full((2 * REACH + 1,) * 2, np.nan), 0.0
    windows = _windows(sample, blocks)
    least = np.quantile(activity, QUIET)
    quiet = np.flatnonzero(activity <= TIMES * least)
    step = -(-len(quiet) // MOST_WINDOWS)
    chosen = quiet[::step]
    full = [i for i in chosen if windows[i] is not None]
    if not full:
        return np.full((2 * REACH + 1,) * 2, np.nan), 0.0
    stack = np.stack([windows[i] for i in full])
    basis = _plane_basis()
    flat = stack.reshape(len(stack), -1) / np.sqrt(variance[full])[:, None]
    flat = flat - (flat @ basis) @ basis.T
    observed = _mean_products(flat.T @ flat / len(flat))
    found = observed
    for _ in range(ROUNDS):
        found = found + observed - _mean_products(_projected(found))
    return found, len(quiet) / len(activity)


def kernel_of(
    covariance: Float[np.ndarray, "lag lag"],
) -> tuple[float, Float[np.ndarray, "row column"]]:
    """Deviation σ and even kernel of unit norm whose noise has an autocovariance."""
    size = 8 * REACH
    around = np.zeros((size, size))
    at = np.arange(-REACH, REACH + 1)
    # far lags are known least: they fade
    fade = 1 - (at / (REACH + 1)) ** 4
    around[np.ix_(at % size, at % size)] = covariance * np.outer(fade, fade)
    power = np.maximum(np.fft.fft2(around).real, 0)
    shape = np.fft.ifft2(np.sqrt(power)).real[np.ix_(at % size, at % size)]
    norm = np.sqrt((shape**2).sum())
    deviation = np.sqrt(max(covariance[REACH, REACH], 0))
    if not norm > 0:
        shape = np.zeros_like(shape)
        shape[REACH, REACH] = norm = 1.0
    return float(deviation), shape / norm


def _windows(sample: Sample, blocks: BlockPowers) -> list[np.ndarray | None]:
    """The pixels of each block, None where one is invalid."""
    rows, columns = sample.tiles.shape[1:]
    found = []
    corners = (blocks.places - [0, WINDOW / 2, WINDOW / 2]).astype(int)
    starts = sample.places
    for frame, row, column in corners:
        inside = (
            (starts[:, 0] == frame)
            & (starts[:, 1] <= row)
            & (row + WINDOW <= starts[:, 1] + rows)
            & (starts[:, 2] <= column)
            & (column + WINDOW <= starts[:, 2] + columns)
        )
        tile = int(np.argmax(inside))
        top, left = row - starts[tile, 1], column - starts[tile, 2]
        at = (tile, slice(top, top + WINDOW), slice(left, left + WINDOW))
        found.append(sample.tiles[at] if sample.valid[at].all() else None)
    return found


@lru_cache
def _plane_basis() -> Float[np.ndarray, "pixel 3"]:
    """An orthonormal basis of the planes of a window."""
    rows, columns = np.indices((WINDOW, WINDOW)).reshape(2, -1)
    return np.linalg.qr(np.stack([np.ones(WINDOW**2), rows, columns], 1))[0]


@lru_cache
def _lags() -> tuple[np.ndarray, np.ndarray]:
    """The place in the autocovariance of each pair of pixels, −1 if too far apart."""
    pixels = np.indices((WINDOW, WINDOW)).reshape(2, -1)
    apart = pixels[:, :, None] - pixels[:, None, :]
    near = (np.abs(apart) <= REACH).all(0)
    side = 2 * REACH + 1
    index = np.where(near, (apart[0] + REACH) * side + apart[1] + REACH, -1)
    counts = np.bincount(index[near], minlength=side**2)
    return index, counts


def _mean_products(
    covariance: Float[np.ndarray, "pixel pixel"],
) -> Float[np.ndarray, "lag lag"]:
    """The mean covariance of pixels at each lag."""
    index, counts = _lags()
    near = index >= 0
    total = np.bincount(index[near], weights=covariance[near], minlength=len(counts))
    mean = (total / counts).reshape(2 * REACH + 1, -1)
    return (mean + mean[::-1, ::-1]) / 2


def _projected(
    covariance: Float[np.ndarray, "lag lag"],
) -> Float[np.ndarray, "pixel pixel"]:
    """The covariance of the pixels of a window after its plane is taken out."""
    index, _ = _lags()
    full = np.where(index >= 0, covariance.ravel()[np.maximum(index, 0)], 0)
    basis = _plane_basis()
    full = full - basis @ (basis.T @ full)
    return full - (full @ basis) @ basis.T
