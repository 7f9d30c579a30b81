"""Whether single frames of a stack have the noise that was found for it."""

from typing import NamedTuple

import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float, Real

from tvjax.noise import diagnose_noise, NoiseReport
from tvjax.stack.blocks import Sliceable

# Frames that are looked at, spread over the energies.
FRAMES = 3
# The deviation of the noise in single frames over that of the stack: above the one,
# energies share a noise; below the other, they differ by more than noise. Noise that is
# uneven has a floor of half its mean level.
SHARED, DIFFERENT = 2.0, 1 / 3
# A frame whose noise is coarser than this has texture, which is no noise.
WHITE = 1.3


class NoiseCheck(NamedTuple):
    """What single frames tell of the noise of a stack.

    Attributes:
        report: The noise of the middle one.
        warnings: What contradicts the noise that was found, a sentence each.
    """

    report: NoiseReport
    warnings: tuple[str, ...]


def check_noise_levels(
    y: Sliceable,
    sigma: Float[np.ndarray, " energy"],
    mask: Bool[np.ndarray, "height width"] | None,
    *,
    by_frame: bool,
) -> NoiseCheck | None:
    """Compare the noise of a stack with that of a few of its frames.

    Args:
        y: The stack.
        sigma: Standard deviation of the noise that was found for each energy.
        mask: True where a pixel is valid.
        by_frame: Whether each was found from its frame alone: then what is unusual
            about the noise of a frame is all that there is to tell.

    Returns:
        None for frames too small to have a noise.
    """
    if min(y.shape[1:]) < 2:
        return None
    places = np.linspace(0, len(sigma) - 1, min(FRAMES, len(sigma))).round().astype(int)
    frames = [np.asarray(y[t : t + 1, 0 : y.shape[1]])[0] for t in places.tolist()]
    reports = [diagnose_noise(frame, mask) for frame in frames]
    middle = len(reports) // 2
    if by_frame:
        told = reports[middle].warnings
        said = tuple(f"frame {places[middle]}: {text}" for text in told)
        return NoiseCheck(reports[middle], said)
    levels = [mean_level(*pair, mask) for pair in zip(reports, frames, strict=True)]
    ratio = float(np.median(np.asarray(levels) / np.maximum(sigma[places], 1e-300)))
    plain = not any(
        report.warnings or not report.scale_ratio < WHITE for report in reports
    )
    said = ()
    if ratio > SHARED and plain:
        said = (
            f"single frames have {ratio:.2g} times the noise that differs between "
            "energies: what all of them share, as the noise of one flat image behind "
            "all, stays in the result; average more flats, or give the noise",
        )
    elif 0 < ratio < DIFFERENT:  # single precision has no squares of tiny numbers
        said = (
            f"single frames have {ratio:.2g} times the noise that was found between "
            "energies: the frames differ by more than noise, as where the sample moved "
            "or the light changed; register them, or give the noise",
        )
    return NoiseCheck(reports[middle], said)


def mean_level(
    report: NoiseReport,
    frame: Real[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"] | None,
) -> float:
    """The root mean square deviation of the noise over a frame."""
    valid = np.ones(frame.shape, bool) if mask is None else mask
    image = jnp.asarray(np.where(valid, frame, 0), jnp.float32)
    variance = np.broadcast_to(np.asarray(report.noise.variance(image)), frame.shape)
    return float(np.sqrt(np.mean(variance, where=valid)))
