"""Noise as repeated exposures of one scene tell it, whatever its kind."""

import dataclasses

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from tvjax.noise.diagnosis import diagnose_noise, NoiseReport
from tvjax.noise.models import Gaussian, Poisson, PoissonGaussian
from tvjax.noise.moments import moments_of_repeats
from tvjax.noise.sample import Mask

# Exposures that vary by so many times their noise do not show one scene: a single
# image tells the variance of texture or of correlated noise to less than that.
UNLIKE = 1.5


def diagnose_repeats(
    y: Num[ArrayLike, "repeat height width"],
    mask: Mask = None,
    *,
    counting: bool | None = None,
) -> NoiseReport:
    """Recognise the noise of exposures of one scene, which judge each other.

    Counts keep their model; of other noise the level is that of the differences between
    exposures. What is unusual about its kind needs no warning, since no model is relied
    on; that the exposures differ by more than their noise does.

    Args:
        y: Exposures of one scene, two or more.
        mask: True where a pixel is valid.
        counting: True where the detector is known to count photons.

    Returns:
        The report of `diagnose_noise`, with the noise and the warnings of repeats.

    Raises:
        ValueError: There is but one exposure, or no valid pixel.
    """
    report = diagnose_noise(y, mask, counting=counting)
    _, variance, valid = moments_of_repeats(y, mask)
    # a map of levels, or the data themselves, may be one a frame
    expected = np.asarray(report.noise.variance(np.where(valid, np.asarray(y), 0)))
    seen = variance[valid].mean()
    ratio = float(seen / max(expected[:, valid].mean(), 1e-300)) if seen else 1.0
    noise, warnings = report.noise, ()
    if not isinstance(noise, Poisson | PoissonGaussian):
        noise = Gaussian.from_repeats(y, mask)
    if ratio > UNLIKE:
        warnings = (
            f"the repeats differ by {ratio:.2g} times the variance of their noise: "
            "they must show one scene, without motion or change of brightness; leave "
            "out `repeats` if they do not",
        )
    return dataclasses.replace(report, noise=noise, warnings=warnings)
