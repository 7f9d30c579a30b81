"""The command `demo`: what tvjax does to data of which the truth is known."""

from pathlib import Path
from typing import Annotated

import typer

from tvjax import io, pipeline, report
from tvjax.cli.running import keep_compiled, progress_bar, say, sentences
from tvjax.settings import Settings, StackSettings


def demo_command(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path(
        "tvjax_demo"
    ),
    num_frames: Annotated[
        int | None,
        typer.Option(
            "--frames",
            min=2,
            help="Frames of the scan, 20 by default, or energies, 117.",
            show_default=False,
        ),
    ] = None,
    stack: Annotated[
        bool, typer.Option("--stack", help="An energy stack in place of a scan.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier demo.")
    ] = False,
) -> None:
    """Simulate a scan or a stack, denoise it, and show what that did to the truth."""
    with sentences():
        report.refuse_report(folder / "report", overwrite=overwrite)
        keep_compiled()
        if stack:
            _demo_stack(folder, num_frames or 117, overwrite)
        else:
            _demo_scan(folder, num_frames or 20, overwrite)


def _demo_scan(folder: Path, num_frames: int, overwrite: bool) -> None:
    """Simulate a scan and denoise it."""
    from tvjax.pipeline.demo import scan_series, true_errors  # computes
    from tvjax.simulate import Scan

    scan = Scan(num_frames=num_frames)
    raw, clean = (folder / name / "scan_master.h5" for name in ("raw", "clean"))
    with progress_bar("simulating") as progress:
        io.save_series(raw, scan_series(scan), overwrite=overwrite, progress=progress)
    with progress_bar("choosing the strength") as progress:
        outcome = pipeline.denoise_files(
            raw, clean, Settings(overwrite=overwrite), progress=progress
        )
    say(outcome.report())
    index = outcome.example.frame
    page = report.report_frames(
        folder / "report",
        outcome,
        overwrite=overwrite,
        truth=scan.expected(index),
        errors=lambda alphas: true_errors(scan, index, alphas),
    )
    say(f"report     {page}")


def _demo_stack(folder: Path, num_energies: int, overwrite: bool) -> None:
    """Simulate an energy stack and denoise it."""
    from tvjax.pipeline.demo import cathode, save_cathode, stack_errors  # computes

    scene = cathode(num_energies)
    raw, flat, references = save_cathode(folder / "raw", scene, overwrite=overwrite)
    settings = StackSettings(
        flat=str(flat),
        references=(references,),
        map=str(folder / "clean" / "map.h5"),
        overwrite=overwrite,
    )
    with progress_bar("reading", "steps") as progress:
        outcome = pipeline.denoise_stack_files(
            raw,
            folder / "clean" / "stack.h5",
            settings,
            compare=True,
            progress=progress,
        )
    errors = stack_errors(scene, outcome.components, outcome.mask)
    rank = outcome.components.rank
    say(outcome.report())
    say(
        f"truth      error {errors.by_rank[rank - 1]:.3g} of the noise's variance, "
        f"{errors.gain(rank):.1f} dB below the data's"
    )
    page = report.report_stack(
        folder / "report", outcome, overwrite=overwrite, scene=scene, errors=errors
    )
    say(f"report     {page}")
