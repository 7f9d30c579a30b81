"""The command `denoise`: a scan, frame by frame."""

from typing import Annotated

import typer

from tvjax import io, pipeline, report as reports
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
    Resume,
    Scale,
    Weighting,
)
from tvjax.cli.running import keep_compiled, progress_bar, sentences, tell_unfinished
from tvjax.settings import Settings, SettingsError


def denoise_command(
    inputs: Inputs,
    output: FrameOutput,
    alpha: Annotated[
        str,
        typer.Option(metavar="auto|NUMBER", help="Strength in the unit of the data."),
    ] = "auto",
    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="A strength for each frame.")
    ] = False,
    repeats: Annotated[
        bool,
        typer.Option(
            "--repeats",
            help="The frames are exposures of one scene, and choose each other's "
            "strength.",
        ),
    ] = False,
    noise: Noise = "auto",
    weights: Annotated[
        Weighting,
        typer.Option(
            help="What errors the strength is chosen by: of all pixels alike, or over "
            "their variance, which keeps weak spots; counts are weighted by themselves."
        ),
    ] = Weighting.auto,
    protect: Annotated[
        bool,
        typer.Option(help="Lower the strength on spots that stand clear."),
    ] = True,
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
    resume: Resume = False,
    force: Force = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Choose noise and strength, write nothing."),
    ] = False,
) -> None:
    """Denoise files into files of the same layout."""
    with sentences():
        settings = Settings(
            alpha=_parse_alpha(alpha),
            per_frame=per_frame,
            repeats=repeats,
            noise=noise,
            weighting=None if weights is Weighting.auto else weights.value,
            protect=protect,
            mask=mask,
            frames=frames,
            dataset=dataset,
            dtype=dtype,
            scale=scale,
            overwrite=overwrite,
            resume=resume,
            force=force,
            emit=_parse_emit(emit),
        )
        if report is not None:
            reports.refuse_report(report, overwrite=overwrite)
        if not resume:
            tell_unfinished(io.unfinished_run(output))
        keep_compiled()
        with progress_bar("choosing the strength") as progress:
            outcome = pipeline.denoise_files(
                inputs, output, settings, progress=progress, dry_run=dry_run
            )
        typer.echo(outcome.report())
        if report is not None:
            page = reports.report_frames(report, outcome, overwrite=overwrite)
            typer.echo(f"report     {page}")


def _parse_alpha(text: str) -> float | None:
    """The strength that a text means; None for `auto`."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"`alpha` must be auto or a number, got {text}.") from None


def _parse_emit(text: str) -> tuple[str, ...]:
    """The programs that a text names."""
    from tvjax.io.integration_input import PROGRAMS  # loads NumPy

    programs = tuple(name for name in text.split(",") if name)
    if unknown := set(programs) - set(PROGRAMS):
        raise SettingsError(
            f"`emit` must name some of {', '.join(PROGRAMS)}, "
            f"got {', '.join(sorted(unknown))}."
        )
    return programs
