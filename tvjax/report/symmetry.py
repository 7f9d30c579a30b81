"""The report of what was done to patterns by their symmetry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Real

from tvjax import plot
from tvjax.report.frames import CAUTION, measure_frame
from tvjax.report.page import (
    check_folder,
    ReservedFolder,
    section,
    write_pages,
)


def write_symmetry_report(
    folder: str | Path | ReservedFolder,
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    *,
    variance: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
    summary: Mapping[str, Any],
    agreement: plot.RingAgreement | None = None,
    profile: plot.RingProfile | None = None,
    overwrite: bool = False,
) -> Path:
    """Write pictures, `report.md`, `report.html` and `report.json` into a folder.

    See `tvjax.report.page.write_pages`.

    Args:
        folder: Where to write; made if missing. Other files in it are left alone.
        before: Noisy pattern.
        after: Denoised pattern.
        variance: Variance of the noise in `before`.
        mask: True where a pixel is valid.
        summary: Whatever is to be known about the run.
        agreement: How the orbits agree, ring by ring; None without a symmetry.
        profile: Means over rings; None without a centre.
        overwrite: Whether to replace an earlier report.

    Returns:
        Path of `report.html`.

    Raises:
        FileExistsError: If the folder holds a report and `overwrite` is False.
    """
    folder = check_folder(folder, overwrite)
    measured = measure_frame(before, after, variance, mask)
    sections = [
        section(
            "Before and after",
            "before_after.png",
            "One color scale for both; gray pixels are not valid.",
            plot.before_after(before, after, mask),
        )
    ]
    if agreement is not None:
        sections.append(
            section(
                "Do the partners agree?",
                "agreement.png",
                "The differences from the orbit mean, squared, over what their noise "
                "makes of them: one where the symmetry holds. If it does not, a smooth "
                "factor is on the mean, which has taken its part. Below, how much of "
                "the mean is worth its error at each radius.",
                plot.orbit_agreement(agreement),
            )
        )
    if profile is not None:
        sections.append(
            section(
                "The radial profile",
                "profile.png",
                "The mean over rings of one pixel, before with its standard error, and "
                "after. A difference of more than a few σ that follows the radius is "
                "signal that was lost.",
                plot.ring_profile(profile),
            )
        )
    sections.append(
        section(
            "What was removed",
            "residual.png",
            "The residual over the noise's standard deviation. Noise alone has no "
            "pattern and no correlation; rings, spots or streaks in it are signal that "
            "was lost, or that the symmetry does not know.",
            plot.residual(before, after, variance, mask),
        )
    )
    return write_pages(
        folder,
        sections,
        title="Symmetry report",
        caution=CAUTION,
        table={**summary, **measured},
        numbers={
            "summary": summary,
            "measured": measured,
            "agreement": None if agreement is None else agreement._asdict(),
            "profile": None if profile is None else profile._asdict(),
        },
    )


def profile_of(
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    variance: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
    centre: tuple[float, float],
) -> plot.RingProfile:
    """Return the means over rings of one pixel that hold a valid pixel.

    Args:
        before: Noisy pattern.
        after: Denoised pattern.
        variance: Variance of the noise in `before`.
        mask: True where a pixel is valid.
        centre: Beam centre (y, x) in pixels.

    Returns:
        Radius and means of the rings, the nearest first.
    """
    rows, columns = np.indices(np.shape(before))
    valid = np.asarray(mask)
    ring = np.rint(np.hypot(rows - centre[0], columns - centre[1])).astype(int)[valid]
    count = np.bincount(ring)
    seen = count > 0

    def mean(values: Real[ArrayLike, "height width"]) -> Float[np.ndarray, " ring"]:
        sums = np.bincount(ring, np.asarray(values, float)[valid])
        return sums[seen] / count[seen]

    return plot.RingProfile(
        radius=np.flatnonzero(seen).astype(float),
        before=mean(before),
        after=mean(after),
        # a pattern less its dark image falls below zero, and has no photons there
        error=np.sqrt(mean(np.maximum(variance, 0)) / count[seen]),
    )
