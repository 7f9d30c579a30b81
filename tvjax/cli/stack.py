"""The command `stack`: an energy stack."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tvjax import io, pipeline, report as reports
from tvjax.cli.many import denoise_inputs
from tvjax.cli.options import (
    Axes,
    Dark,
    Dataset,
    Energies,
    Flat,
    Force,
    Inputs,
    Mask,
    Memory,
    NoiseByEnergy,
    Overwrite,
    ReportFolder,
    Resume,
    StackOutput,
    StackType,
)
from tvjax.cli.running import (
    keep_compiled,
    progress_bar,
    report_folder,
    sentences,
    tell_unfinished,
)
from tvjax.settings import parse_memory, SettingsError, StackSettings


def stack_command(
    inputs: Inputs,
    output: StackOutput,
    rank: Annotated[
        str, typer.Option(metavar="auto|K", help="Number of components.")
    ] = "auto",
    noise: NoiseByEnergy = "auto",
    mask: Mask = None,
    axes: Axes = None,
    energies: Energies = None,
    dataset: Dataset = None,
    flat: Flat = None,
    dark: Dark = None,
    register: Annotated[
        bool, typer.Option("--register", help="Undo the jitter between frames.")
    ] = False,
    whole_pixels: Annotated[
        bool, typer.Option("--whole-pixels", help="Register by whole pixels.")
    ] = False,
    references: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[=VALENCE]",
            help="Spectra to fit for the map; may be repeated.",
        ),
    ] = None,
    map_file: Annotated[
        str | None, typer.Option("--map", help="HDF5 file for the maps.")
    ] = None,
    report: ReportFolder = None,
    memory: Memory = "2GB",
    dtype: StackType = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    force: Force = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Choose rank and strengths, write nothing."),
    ] = False,
) -> None:
    """Denoise an energy stack in its own subspace, and map its phases."""
    with sentences():
        settings = StackSettings(
            rank=_parse_rank(rank),
            noise=noise,
            mask=mask,
            axes=axes,
            energies=energies,
            dataset=dataset,
            flat=flat,
            dark=dark,
            register=register,
            whole_pixels=whole_pixels,
            references=tuple(references or ()),
            map=map_file,
            memory=parse_memory(memory),
            dtype=dtype,
            overwrite=overwrite,
            resume=resume,
            force=force,
        )
        keep_compiled()

        def denoise(
            names: list[str], output: Path, report: Path | None, waiting: str
        ) -> Any:
            """Denoise one stack."""
            if not resume:
                tell_unfinished(io.unfinished_run(output))
            with report_folder(report, overwrite=overwrite) as reserved:
                with progress_bar(waiting, "steps") as progress:
                    outcome = pipeline.denoise_stack_files(
                        names,
                        output,
                        settings,
                        compare=report is not None,
                        progress=progress,
                        dry_run=dry_run,
                    )
                if reserved is not None:
                    reports.report_stack(reserved, outcome, overwrite=overwrite)
            return outcome

        denoise_inputs(inputs, output, settings, report, denoise, "reading")


def _parse_rank(text: str) -> int | None:
    """The rank that a text means; None for `auto`."""
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise SettingsError(
            f"`rank` must be auto or a whole number, got {text}."
        ) from None
