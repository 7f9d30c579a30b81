"""The report of what was done to the frames of a scan."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Real

from tvjax import plot
from tvjax.diagnostics import autocorrelation, standardized_residual, weakest_spot
from tvjax.metrics import mse
from tvjax.report.page import (
    check_folder,
    ReservedFolder,
    Section,
    section,
    write_pages,
)

# What a reader of the report must not overlook.
CAUTION = (
    "Denoising correlates neighboring pixels, so the scatter of the background no "
    "longer measures the noise: an I/σ(I) taken from it is too high. Keep the raw data "
    "beside the denoised, and judge by intensities."
)


def write_report(
    folder: str | Path | ReservedFolder,
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    *,
    variance: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
    summary: Mapping[str, Any],
    curve: plot.RiskCurve | None = None,
    truth: Real[ArrayLike, "height width"] | None = None,
    title: str = "Denoising report",
    unit: str = "counts",
    overwrite: bool = False,
) -> Path:
    """Write pictures, `report.md`, `report.html` and `report.json` into a folder.

    See `tvjax.report.page.write_pages`.

    Args:
        folder: Where to write; made if missing. Other files in it are left alone.
        before: Noisy image.
        after: Denoised image.
        variance: Variance of the noise in `before`.
        mask: True where a pixel is valid.
        summary: Whatever is to be known about the run: numbers, texts, arrays, nested
            mappings. All of it goes into the JSON file, what is short into the table.
        curve: Risk against strength; None if the strength was not chosen from a risk.
        truth: Image without noise, where it is known.
        title: Heading of the report.
        unit: Unit of the images.
        overwrite: Whether to replace an earlier report.

    Returns:
        Path of `report.html`.

    Raises:
        FileExistsError: If the folder holds a report and `overwrite` is False.
        ValueError: If no pixel is valid or the images differ in shape.
    """
    folder = check_folder(folder, overwrite)
    shapes = {np.shape(image) for image in (before, after, variance, mask)}
    if len(shapes) > 1:
        raise ValueError(f"The images must have one shape, got {sorted(shapes)}.")
    if not np.any(mask):
        raise ValueError("`mask` must be True somewhere, got no valid pixel.")

    spot = weakest_spot(before, mask)
    measured: dict[str, Any] = measure_frame(before, after, variance, mask)
    measured["faintest_spot"] = spot
    if truth is not None:
        measured["true_mse_before"] = mse(before, truth, mask)
        measured["true_mse_after"] = mse(after, truth, mask)
    sections = _draw(before, after, variance, mask, spot, curve, truth, unit)
    return write_pages(
        folder,
        sections,
        title=title,
        caution=CAUTION,
        table={**summary, **measured},
        numbers={
            "summary": summary,
            "measured": measured,
            "curve": None if curve is None else curve._asdict(),
        },
    )


def measure_frame(
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    variance: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
) -> dict[str, float]:
    """Return the numbers that follow from the images and their noise.

    Args:
        before: Noisy image.
        after: Denoised image.
        variance: Variance of the noise in `before`.
        mask: True where a pixel is valid.

    Returns:
        Totals in the unit of the images, and moments of the residual over its standard
        deviation.
    """
    total_before, total_after = (
        float(np.sum(np.asarray(image), where=np.asarray(mask), dtype=float))
        for image in (before, after)
    )
    z = standardized_residual(before, after, variance, mask)
    return {
        "valid_share": float(np.mean(np.asarray(mask))),
        "total_before": total_before,
        "total_after": total_after,
        "total_change": total_after / total_before - 1 if total_before else math.nan,
        **measure_residual(z),
    }


def measure_residual(z: Float[np.ndarray, "height width"]) -> dict[str, float]:
    """Return mean, deviation and correlation of neighbors in a residual.

    Args:
        z: Residual over the standard deviation of the noise, NaN where invalid.

    Returns:
        The three by name; noise alone has 0, 1 and 0.
    """
    neighbors = autocorrelation(z, 1)
    return {
        "residual_mean": float(np.nanmean(z)),
        "residual_deviation": float(np.nanstd(z)),
        "residual_neighbor_correlation": float(neighbors[1, 2] + neighbors[2, 1]) / 2,
    }


def _draw(
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    variance: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
    spot: tuple[int, int] | None,
    curve: plot.RiskCurve | None,
    truth: Real[ArrayLike, "height width"] | None,
    unit: str,
) -> list[Section]:
    """The pictures that these data allow, each as a section."""
    caption = "One color scale for both; gray pixels are not valid."
    if spot is not None:
        caption += (
            " Below, the faintest spot that stands clear of the noise, chosen in the "
            f"noisy image: row {spot[0]}, column {spot[1]}."
        )
    sections = [
        section(
            "Before and after",
            "before_after.png",
            caption,
            plot.before_after(before, after, mask, spot=spot, unit=unit),
        )
    ]
    if curve is not None:
        sections.append(
            section(
                "How the strength was chosen",
                "risk.png",
                "The mean square error, estimated from the noisy data alone, and the "
                "strength that was used.",
                plot.risk_curve(curve, unit=unit),
            )
        )
    if spot is not None:
        sections.append(
            section(
                "The faintest spot",
                "spot.png",
                "The same spot as surfaces over one vertical axis. Total variation "
                "lowers a peak the more, the fainter and the narrower it is.",
                plot.spot_surface(
                    before, after, mask, spot=spot, truth=truth, unit=unit
                ),
            )
        )
    sections.append(
        section(
            "What was removed",
            "residual.png",
            "The residual over the noise's standard deviation. Noise alone has no "
            "pattern, deviation 1 and no correlation; rings or spots in it are signal "
            "that was lost. Where counts are few its distribution is skewed and in "
            "steps, whatever the denoiser.",
            plot.residual(before, after, variance, mask),
        )
    )
    return sections
