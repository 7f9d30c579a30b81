"""Means and variances of repeated exposures of one scene, and the line through them."""

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from tvjax.arguments import as_full_mask, as_numpy
from tvjax.noise.sample import Mask


def moments_of_repeats(
    y: Num[ArrayLike, "repeat height width"], mask: Mask
) -> tuple[
    Float[np.ndarray, "height width"],
    Float[np.ndarray, "height width"],
    Bool[np.ndarray, "height width"],
]:
    """Mean and variance of each pixel over repeated exposures, and what is valid."""
    images = as_numpy(y)
    if images.ndim != 3 or len(images) < 2:
        raise ValueError(
            "repeats need at least two exposures (repeat, height, width), got "
            f"{len(images) if images.ndim == 3 else 1}."
        )
    masks = as_full_mask(mask, images.shape, images.shape[1:])
    valid = np.all(np.asarray(masks), axis=0, keepdims=True)[0]
    if not valid.any():
        raise ValueError("`mask` leaves no valid pixel to estimate the noise from.")
    values = np.where(valid, images, 0).astype(np.float64)
    return values.mean(0), values.var(0, ddof=1), valid


def variance_line(
    mean: Float[np.ndarray, " pixel"], variance: Float[np.ndarray, " pixel"]
) -> tuple[float, float]:
    """Slope and intercept ≥ 0 of variance against mean, weighted by its precision."""
    typical = variance.mean()
    scale = max(np.abs(mean).mean(), 1e-12)
    weight = 1 / (max(typical, 1e-300) * (1 + np.maximum(mean, 0) / scale)) ** 2
    weight = weight / weight.max()
    centre, height = (np.average(z, weights=weight) for z in (mean, variance))
    off = mean - centre
    spread = np.sum(weight * off**2)
    slope = np.sum(weight * off * (variance - height)) / spread if spread > 0 else 0.0
    slope = float(np.clip(slope, 0, height / max(centre, 1e-12)))
    return slope, float(max(height - slope * centre, 0))
