"""What was done to patterns that were denoised by their symmetry?"""

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import ArrayLike, Bool, Real

from tvjax import plot
from tvjax.report.frames import CAUTION, measure
from tvjax.report.page import check_folder, section, write_pages


def write_symmetry_report(
    folder: str | Path,
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    *,
    variance: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
    summary: Mapping[str, object],
    agreement: Mapping[str, object] | None,
    profile: Mapping[str, object] | None,
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
        agreement: The arguments of `plot.orbit_agreement`; none without a symmetry.
        profile: The arguments of `plot.radial_profile`; none without a centre.
        overwrite: Whether to replace an earlier report.

    Returns:
        Path of `report.html`.

    Raises:
        FileExistsError: If the folder holds a report and `overwrite` is False.
    """
    folder = check_folder(folder, overwrite)
    measured = measure(before, after, variance, mask)
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
                plot.orbit_agreement(**agreement),
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
                plot.radial_profile(**profile),
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
            "agreement": agreement,
            "profile": profile,
        },
    )
