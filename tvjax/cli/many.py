"""How a command denoises one input or several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from tvjax import io, pipeline
from tvjax.cli.running import FAILED, INTERRUPTED, tell
from tvjax.settings import Settings, StackSettings

# Denoises an input into an output, with a report in a folder if there is one, and with
# a text that is shown before the first step. It returns an `AbstractOutcome`, whose
# name would load what computes.
Denoise = Callable[[list[str], Path, Path | None, str], Any]


def denoise_inputs(
    inputs: list[str],
    output: str,
    settings: Settings | StackSettings,
    report: Path | None,
    denoise: Denoise,
    waiting: str,
) -> None:
    """Denoise one input into a file, or several into a folder, and say what was done.

    Args:
        inputs: As the user named them.
        output: A file, or a folder.
        settings: What is decided for all of them.
        report: Folder of the reports, if any is asked for.
        denoise: Denoises one input.
        waiting: What is shown before the first step.
    """
    if not io.is_folder(output):
        outcome = denoise(io.single_input(inputs), Path(output), report, waiting)
        tell_outcome(outcome, report)
        return
    many = pipeline.denoise_many(
        inputs,
        Path(output),
        settings,
        lambda job: denoise(
            list(job.source.names),
            job.output,
            None if report is None else report / job.name,
            f"{job.number} of {job.total}: {job.source.label}, {waiting}",
        ),
    )
    if many.total == 1 and many.done:
        (done,) = many.done
        tell_outcome(done.outcome, None if report is None else report / done.job.name)
    elif many.total > 1:
        tell(many.report())
    for failure in many.failed:
        tell(f"tvjax: {failure.told}", err=True)
    if many.not_begun:
        tell("tvjax: Interrupted: the inputs above are done.", err=True)
        raise typer.Exit(INTERRUPTED)
    if many.failed:
        raise typer.Exit(FAILED)


def tell_outcome(outcome: Any, report: Path | None) -> None:
    """Print the outcome of one input."""
    tell(outcome.report())
    if report is not None:
        tell(f"report     {report / 'report.html'}")
