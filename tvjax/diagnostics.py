"""What a denoising removed: its residual, and the spot that is the hardest test."""

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Real


def standardized_residual(
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    variance: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
) -> Float[np.ndarray, "height width"]:
    """Return (before − after) / √variance, NaN where the mask is False.

    Pixels whose variance is not positive count as invalid too.

    Args:
        before: Noisy image.
        after: Denoised image.
        variance: Variance of the noise in each pixel.
        mask: True where a pixel is valid.
    """
    before, after, variance = (np.asarray(a, float) for a in (before, after, variance))
    valid = np.asarray(mask, bool) & (variance > 0)
    z = np.full(before.shape, np.nan)
    z[valid] = (before[valid] - after[valid]) / np.sqrt(variance[valid])
    return z


def autocorrelation(
    z: Float[np.ndarray, "height width"], max_lag: int
) -> Float[np.ndarray, "lag lag"]:
    """Return the correlation of an image with itself, shifted by up to `max_lag`.

    Lag zero, where it is 1, lies in the centre. NaN pixels enter no pair, and values
    are cut at ±5, so that one bright spot cannot stand for the whole image. A constant
    image has no correlation, not even with itself.

    Args:
        z: Image in units of its standard deviation.
        max_lag: Greatest shift in pixels, along rows and along columns.
    """
    valid = np.isfinite(z)
    cut = np.clip(z, -5, 5)
    cut = np.where(valid, cut - np.mean(cut, where=valid), 0)
    pairs = _correlate(valid.astype(float), max_lag)
    covariance = _correlate(cut, max_lag) / np.maximum(pairs, 1)
    return covariance / max(covariance[max_lag, max_lag], np.finfo(float).tiny)


def weakest_spot(
    image: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
    *,
    threshold: float = 5.0,
    half_width: int = 12,
) -> tuple[int, int] | None:
    """Find the faintest spot that still stands clear of the noise.

    A spot's intensity I is the sum over 5×5 pixels above the mean of a surrounding
    ring; its σ(I) is what the ring's scatter predicts for as many counts. Among the
    local maxima of I/σ(I), the lowest above `threshold` is taken. The choice does not
    look at any denoised image, so that no denoiser is favored by it.

    Args:
        image: Noisy counts, in any gain.
        mask: True where a pixel is valid.
        threshold: Least I/σ(I). At 5, noise alone makes one spot in about ten
            images of a megapixel.
        half_width: How many pixels on each side of a spot must be valid and free of
            stronger spots.

    Returns:
        Row and column; None where no spot is found. A single pixel that holds more
        than half of the intensity is taken for a defect, not for a spot.
    """
    image = np.asarray(image, float)
    mask = np.asarray(mask, bool)
    if min(image.shape) <= 2 * half_width:
        return None
    image = np.where(mask, image, 0)
    core, inner, outer = (
        (_box_sum(image, n), _box_sum(image**2, n)) for n in (2, 5, half_width)
    )
    num_core, num_ring = 5**2, (2 * half_width + 1) ** 2 - 11**2
    level = (outer[0] - inner[0]) / num_ring
    scatter = (outer[1] - inner[1]) / num_ring - level**2
    # one count more in the ring: an empty one would promise data without noise
    gain = (scatter + 1 / num_ring) / (np.maximum(level, 0) + 1 / num_ring)
    intensity = core[0] - num_core * level
    ratio = intensity / np.sqrt(gain * np.maximum(core[0], 1))

    rows, columns = (slice(half_width, n - half_width) for n in image.shape)
    clear = np.zeros(image.shape, bool)
    clear[rows, columns] = True
    clear &= _box_sum(mask.astype(float), half_width) > (2 * half_width + 1) ** 2 - 0.5
    y, x = np.nonzero(clear & (ratio >= threshold))
    order = np.argsort(ratio[y, x])
    for row, column in zip(y[order].tolist(), x[order].tolist(), strict=True):
        around = np.s_[
            row - half_width : row + half_width + 1,
            column - half_width : column + half_width + 1,
        ]
        peak = image[row - 2 : row + 3, column - 2 : column + 3].max()
        lone = ratio[row, column] >= ratio[around].max()
        if lone and peak - level[row, column] < intensity[row, column] / 2:
            return row, column
    return None


def _correlate(
    image: Float[np.ndarray, "height width"], max_lag: int
) -> Float[np.ndarray, "lag lag"]:
    """Sums over all pairs of pixels, for every shift of up to `max_lag`."""
    shape = [n + max_lag for n in image.shape]  # so that nothing wraps around
    power = np.abs(np.fft.rfft2(image, shape)) ** 2
    lags = np.arange(-max_lag, max_lag + 1)
    return np.fft.irfft2(power, shape)[np.ix_(lags, lags)]


def _box_sum(
    image: Float[np.ndarray, "height width"], half_width: int
) -> Float[np.ndarray, "height width"]:
    """Sum over a square about each pixel, as if there were zeros beyond the border."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (half_width + 1, half_width)
        total = np.cumsum(np.pad(image, pad), axis)
        size = 2 * half_width + 1
        ahead, behind = [slice(None)] * 2, [slice(None)] * 2
        ahead[axis], behind[axis] = slice(size, None), slice(None, -size)
        image = total[tuple(ahead)] - total[tuple(behind)]
    return image
