"""How is a scan denoised from the shell?"""

from typing import Annotated

import typer

from tvjax.cli.options import (
    Dataset,
    Force,
    FrameOutput,
    Frames,
    FrameType,
    Inputs,
    Mask,
    Noise,
    Overwrite,
    ReportFolder,
    Scale,
)
from tvjax.cli.report import check_report, report_scan
from tvjax.cli.running import keep_compiled, progress_bar, sentences
from tvjax.settings import Settings, SettingsError


def denoise(
    inputs: Inputs,
    output: FrameOutput,
    alpha: Annotated[
        str,
        typer.Option(metavar="auto|NUMBER", help="Strength in the unit of the data."),
    ] = "auto",
    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="A strength for each frame.")
    ] = False,
    noise: Noise = "auto",
    mask: Mask = None,
    frames: Frames = None,
    dataset: Dataset = None,
    report: ReportFolder = None,
    dtype: FrameType = None,
    scale: Scale = None,
    emit: Annotated[
        str,
        typer.Option(
            metavar="xds,dials,crystfel",
            help="Write the lines that these programs need for the scale.",
        ),
    ] = "",
    overwrite: Overwrite = False,
    force: Force = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Choose noise and strength, write nothing."),
    ] = False,
) -> None:
    """Denoise files into files of the same layout."""
    with sentences():
        from tvjax.pipeline import denoise_series

        settings = Settings(
            alpha=_parse_alpha(alpha),
            per_frame=per_frame,
            noise=noise,
            mask=mask,
            frames=frames,
            dataset=dataset,
            dtype=dtype,
            scale=scale,
            overwrite=overwrite,
            force=force,
            emit=_parse_emit(emit),
        )
        if report is not None:
            check_report(report, overwrite)
        keep_compiled()
        with progress_bar("choosing the strength") as progress:
            outcome = denoise_series(
                inputs, output, settings, progress=progress, dry_run=dry_run
            )
        typer.echo(outcome.report())
        if report is not None:
            typer.echo(f"report     {report_scan(report, outcome, overwrite)}")


def _parse_alpha(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"`alpha` must be auto or a number, got {text}.") from None


def _parse_emit(text: str) -> tuple[str, ...]:
    from tvjax.io.integration_input import PROGRAMS

    programs = tuple(name for name in text.split(",") if name)
    if unknown := set(programs) - set(PROGRAMS):
        raise SettingsError(
            f"`emit` must name some of {', '.join(PROGRAMS)}, "
            f"got {', '.join(sorted(unknown))}."
        )
    return programs
