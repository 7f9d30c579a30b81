"""What was done to an energy stack?"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Real

from tvjax import plot
from tvjax.diagnostics import autocorrelation, standardized_residual
from tvjax.report.page import check_folder, Section, section, write_pages

CAUTION = (
    "Denoising correlates neighboring pixels and energies, and a phase that fills few "
    "pixels may be dropped with its component: look at the residual for shapes. Keep "
    "the raw data beside the denoised."
)

OFFSET = (
    "The two differ by a nearly constant amount, the noise of the estimate, which has "
    "no say in the rank."
)


def write_stack_report(
    folder: str | Path,
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    *,
    sigma: float,
    mask: Bool[ArrayLike, "height width"],
    summary: Mapping[str, object],
    components: Mapping[str, object],
    spectra: Mapping[str, object],
    energies: Float[ArrayLike, " energy"] | None = None,
    frame: str = "One frame",
    maps: Mapping[str, Float[ArrayLike, "height width"]] | None = None,
    map_label: str = "",
    shifts: Mapping[str, object] | None = None,
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
        components: `rank`, `chosen`, `risks`, `singular_values`, `verdict`, `spectra`,
            `images` and `denoised`, as in `tvjax.stack.Components`.
        spectra: The arguments of `plot.spectra` but for energies and unit.
        energies: In eV.
        frame: Which frame it is, in words.
        maps: A map by title: before, after, and where known the truth.
        map_label: What the maps show.
        shifts: `shifts` and `confidence` of a registration.
        truth: The frame without noise, where it is known.
        oracle: True error at each rank, over the variance of the noise.
        title: Heading of the report.
        unit: Of the stack.
        overwrite: Whether to replace an earlier report.

    Returns:
        Path of `report.html`.

    Raises:
        FileExistsError: If the folder holds a report and `overwrite` is False.
    """
    folder = check_folder(folder, overwrite)
    variance = np.full(np.shape(before), sigma**2)
    z = standardized_residual(before, after, variance, mask)
    neighbors = autocorrelation(z, 1)
    measured = {
        "frame": frame,
        "residual_mean": np.nanmean(z),
        "residual_deviation": np.nanstd(z),
        "residual_neighbor_correlation": (neighbors[1, 2] + neighbors[2, 1]) / 2,
    }
    if truth is not None:
        for name, image in (("before", before), ("after", after)):
            difference = np.asarray(image, float) - truth
            measured[f"true_rmse_{name}"] = np.sqrt(np.mean(difference[mask] ** 2))
    images = {"before": before, "after": after}
    if truth is not None:
        images["truth"] = truth
    sections = [
        section(
            "Before and after",
            "before_after.png",
            f"{frame}, on one color scale. Gray pixels are not valid at all energies; "
            "the spectra of the circled ones are below.",
            plot.frames(images, mask, pixels=spectra["pixels"], unit=unit),
        ),
        section(
            "Spectra",
            "spectra.png",
            "The spectra of a bright, a middle and a faint pixel.",
            plot.spectra(**spectra, energies=energies, unit=unit),
        ),
        *_map_section(maps, map_label),
        section(
            "How the rank was chosen",
            "rank.png",
            "The mean square error of the whole denoised stack over the variance of "
            "the noise, estimated from the noisy data alone"
            + ("." if oracle is None else f", and in truth. {OFFSET}"),
            plot.rank_risk(
                components["risks"],
                components["rank"],
                chosen=components["chosen"],
                oracle=oracle,
            ),
        ),
        section(
            "Singular values",
            "scree.png",
            "Those of the stack in units of its noise. A component below the line can "
            "still hold signal that is smooth in the image.",
            plot.scree(
                components["singular_values"],
                (int(np.count_nonzero(mask)), np.shape(components["spectra"])[1]),
                components["verdict"],
            ),
        ),
        section(
            "Components",
            "components.png",
            "Kept: as strong as it was, without its noise. Shrunk: made fainter, as "
            "the noise hides how strong it is. Dropped: no more than noise.",
            plot.eigenimages(
                components["images"],
                components["denoised"],
                components["spectra"],
                components["verdict"],
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


def _map_section(maps, label) -> list[Section]:
    if maps is None:
        return []
    caption = f"{label[0].upper()}{label[1:]} in each pixel; light gray has no answer."
    return [section("Map", "map.png", caption, plot.maps(maps, label))]


def _jitter_section(shifts, energies) -> list[Section]:
    if shifts is None:
        return []
    caption = (
        "By how much each frame was found to have moved, before it was moved back."
    )
    figure = plot.jitter(**shifts, energies=energies)
    return [section("Jitter", "shifts.png", caption, figure)]
