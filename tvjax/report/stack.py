"""The report of what was done to an energy stack."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Real

from tvjax import plot
from tvjax.diagnostics import standardized_residual
from tvjax.metrics import mse
from tvjax.pipeline.stack_outcome import Shifts
from tvjax.report.frames import measure_residual
from tvjax.report.page import (
    check_folder,
    ReservedFolder,
    Section,
    section,
    write_pages,
)
from tvjax.stack import Components

# What a reader of the report must not overlook.
CAUTION = (
    "Denoising correlates neighboring pixels and energies, and a phase that fills few "
    "pixels may be dropped with its component: look at the residual for shapes. Keep "
    "the raw data beside the denoised."
)

# Why the estimated error is not the true one, and why that does not matter.
OFFSET = (
    "The two differ by a nearly constant amount, the noise of the estimate, which does "
    "not change the choice of the rank."
)


def write_stack_report(
    folder: str | Path | ReservedFolder,
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    *,
    sigma: float,
    mask: Bool[ArrayLike, "height width"],
    summary: Mapping[str, Any],
    components: Components,
    spectra: plot.PixelSpectra,
    chosen: bool = True,
    energies: Float[ArrayLike, " energy"] | None = None,
    frame: str = "One frame",
    maps: Mapping[str, Float[ArrayLike, "height width"]] | None = None,
    map_label: str = "",
    shifts: Shifts | None = None,
    truth: Real[ArrayLike, "height width"] | None = None,
    oracle: Float[ArrayLike, " rank"] | None = None,
    title: str = "Energy stack: denoising report",
    unit: str = "value",
    overwrite: bool = False,
) -> Path:
    """Write pictures, `report.md`, `report.html` and `report.json` into a folder.

    See `tvjax.report.page.write_pages`.

    Args:
        folder: Where to write.
        before: One noisy frame.
        after: The same, denoised.
        sigma: Standard deviation of the noise in it.
        mask: True where a pixel is valid at all energies.
        summary: Whatever is to be known about the run.
        components: What the stack is made of.
        spectra: Spectra of some pixels.
        chosen: Whether the rank was chosen from the data.
        energies: Energies in eV.
        frame: Which frame it is, in words.
        maps: A map by title: before, after, and where known the truth.
        map_label: What the maps show.
        shifts: How the frames had moved, if they were registered.
        truth: The frame without noise, where it is known.
        oracle: True error at each rank, over the variance of the noise.
        title: Heading of the report.
        unit: Unit of the stack.
        overwrite: Whether to replace an earlier report.

    Returns:
        Path of `report.html`.

    Raises:
        FileExistsError: If the folder holds a report and `overwrite` is False.
    """
    folder = check_folder(folder, overwrite)
    variance = np.full(np.shape(before), sigma**2)
    z = standardized_residual(before, after, variance, mask)
    measured: dict[str, Any] = {"frame": frame, **measure_residual(z)}
    images = {"before": before, "after": after}
    if truth is not None:
        measured |= {
            f"true_rmse_{name}": float(mse(image, truth, mask)) ** 0.5
            for name, image in images.items()
        }
        images["truth"] = truth
    verdict = components.verdict()
    sections = [
        section(
            "Before and after",
            "before_after.png",
            f"{frame}, on one color scale. Gray pixels are not valid at all energies; "
            "the spectra of the circled ones are below.",
            plot.stack_frame(images, mask, pixels=spectra.pixels, unit=unit),
        ),
        section(
            "Spectra",
            "spectra.png",
            "The spectra of a bright, a middle and a faint pixel.",
            plot.spectra(spectra, energies, unit=unit),
        ),
        *_map_section(maps, map_label),
        section(
            "How the rank was chosen",
            "rank.png",
            "The mean square error of the whole denoised stack over the variance of "
            "the noise, estimated from the noisy data alone"
            + ("." if oracle is None else f", and in truth. {OFFSET}"),
            plot.rank_risk(
                components.relative_risks,
                components.rank,
                chosen=chosen,
                oracle=oracle,
            ),
        ),
        section(
            "Singular values",
            "scree.png",
            "Those of the stack in units of its noise. A component below the line can "
            "still hold signal that is smooth in the image.",
            plot.scree(
                components.singular_values,
                (int(np.count_nonzero(mask)), components.spectra.shape[1]),
                verdict,
            ),
        ),
        section(
            "Components",
            "components.png",
            "Kept: as strong as it was, without its noise. Shrunk: made fainter, as "
            "the noise hides how strong it is. Dropped: no more than noise.",
            plot.eigenimages(
                components.images,
                components.denoised,
                components.spectra,
                verdict,
                mask,
                energies,
            ),
        ),
        *_jitter_section(shifts, energies),
        section(
            "What was removed",
            "residual.png",
            f"The residual of {frame[0].lower()}{frame[1:]} over the noise's standard "
            "deviation at this energy. Noise alone has no pattern, deviation 1 and no "
            "correlation; shapes in it are signal that was lost. Noise that follows "
            "the signal is uneven in it.",
            plot.residual(before, after, variance, mask),
        ),
    ]
    return write_pages(
        folder,
        sections,
        title=title,
        caution=CAUTION,
        table={**summary, **measured},
        numbers={"summary": summary, "measured": measured},
    )


def _map_section(
    maps: Mapping[str, Float[ArrayLike, "height width"]] | None, label: str
) -> list[Section]:
    """The maps, where there are any."""
    if maps is None:
        return []
    caption = f"{label[0].upper()}{label[1:]} in each pixel; light gray has no answer."
    return [section("Map", "map.png", caption, plot.maps(maps, label))]


def _jitter_section(
    shifts: Shifts | None, energies: Float[ArrayLike, " energy"] | None
) -> list[Section]:
    """By how much the frames had moved, if they were registered."""
    if shifts is None:
        return []
    caption = (
        "By how much each frame was found to have moved, before it was moved back."
    )
    figure = plot.frame_shifts(shifts.shifts, shifts.confidence, energies)
    return [section("Jitter", "shifts.png", caption, figure)]
