"""The command `denoise`: a scan, frame by frame."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tvjax import io, pipeline, report as reports
from tvjax.cli.many import denoise_inputs, tell_outcome
from tvjax.cli.optional_value import PATIENCE, WATCH
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
from tvjax.cli.running import (
    keep_compiled,
    progress_bar,
    report_folder,
    sentences,
    tell_unfinished,
)
from tvjax.settings import Settings, SettingsError


def denoise_command(
    inputs: Inputs,
    output: FrameOutput,
    alpha: Annotated[
        str,
        typer.Option(
            metavar="auto|NUMBER",
            help="Strength in the unit of the data; 0 leaves the frames as they are.",
        ),
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
    watch: Annotated[
        float | None,
        typer.Option(
            WATCH,
            metavar="[SECONDS]",
            help="Follow a file that is being written, or a folder that fills, until "
            f"nothing came for so many seconds, by default {PATIENCE}.",
        ),
    ] = None,
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
        keep_compiled()

        def denoise(
            names: list[str], output: str | Path, report: Path | None, waiting: str
        ) -> Any:
            """Denoise one input."""
            if not resume:
                tell_unfinished(io.unfinished_run(Path(output)))
            with report_folder(report, overwrite=overwrite) as reserved:
                with progress_bar(waiting) as progress:
                    if watch is None:
                        outcome = pipeline.denoise_files(
                            names, output, settings, progress=progress, dry_run=dry_run
                        )
                    else:
                        outcome = pipeline.denoise_watched(
                            names, output, settings, timeout=watch, progress=progress
                        )
                if reserved is not None:
                    reports.report_frames(reserved, outcome, overwrite=overwrite)
            return outcome

        if watch is None:
            denoise_inputs(
                inputs, output, settings, report, denoise, "choosing the strength"
            )
        elif dry_run:
            raise SettingsError("`dry_run` waits for no frames: drop it, or watch.")
        else:
            tell_outcome(denoise(inputs, output, report, "waiting for frames"), report)


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
