"""Several inputs denoised into a folder, one after the other.

What would destroy something is refused before any work. An input that fails stops no
other, and frames of one shape are compiled for once.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tvjax.io import FileError
from tvjax.io.errors import failure, NoImages
from tvjax.io.file_names import unnumbered_stem
from tvjax.io.inputs import find_inputs, Input
from tvjax.io.output_names import name_of_output
from tvjax.io.reading import Paths
from tvjax.io.writing import files_of_series, files_of_stack, files_read
from tvjax.pipeline.input import (
    AlreadyDenoised,
    frame_range,
    named_files,
    open_input,
)
from tvjax.pipeline.outcome import AbstractOutcome
from tvjax.pipeline.stack import open_energies
from tvjax.result import AbstractReadable
from tvjax.settings import Settings, SettingsError, StackSettings


class Job(NamedTuple):
    """One of several inputs, and its output.

    Attributes:
        source: The input.
        output: Where it goes.
        number: Which it is, from 1 on.
        total: How many there are.
    """

    source: Input
    output: Path
    number: int
    total: int

    @property
    def name(self) -> str:
        """The name of its output without extension and digits, as of its report."""
        return unnumbered_stem(self.output)


# Denoises one input.
Run = Callable[[Job], AbstractOutcome]


class Done(NamedTuple):
    """An input that was denoised, and what became of it."""

    job: Job
    outcome: AbstractOutcome


class Failure(NamedTuple):
    """An input that was not denoised, and why."""

    label: str
    sentence: str

    @property
    def told(self) -> str:
        """The sentence with the name of the input, if it does not begin with it."""
        known = self.sentence.startswith(self.label)
        return self.sentence if known else f"{self.label}: {self.sentence}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ManyOutcome(AbstractReadable):
    """What became of several inputs.

    Attributes:
        folder: Where the outputs are.
        done: The inputs that were denoised.
        failed: The others.
        left_out: Sentences about files that were found and are no inputs.
        not_begun: Inputs that an interruption left.
        seconds: Time from start to end.
    """

    folder: Path
    done: tuple[Done, ...]
    failed: tuple[Failure, ...]
    left_out: tuple[str, ...]
    not_begun: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Number of inputs."""
        return len(self.done) + len(self.failed) + len(self.not_begun)

    def facts(self) -> dict[str, str]:
        """Each input with its output, those that failed, and how many there were."""
        facts = {
            job.source.label: f"{job.output}  ({_brief(outcome)})"
            for job, outcome in self.done
        }
        facts |= {each.label: f"FAILED: {each.sentence}" for each in self.failed}
        facts |= {label: "not begun" for label in self.not_begun}
        facts["done"] = (
            f"{len(self.done)} of {self.total} inputs in {self.seconds:.1f} s, "
            f"{len(self.failed)} failed"
        )
        return facts

    def asdict(self) -> dict[str, Any]:
        """Everything but images, in types that JSON knows."""
        return {
            "folder": str(self.folder),
            "done": {job.source.label: outcome.asdict() for job, outcome in self.done},
            "failed": {each.label: each.sentence for each in self.failed},
            "left out": list(self.left_out),
            "not begun": list(self.not_begun),
            "seconds": self.seconds,
        }


def denoise_many(
    inputs: Paths, folder: Path, settings: Settings | StackSettings, run: Run
) -> ManyOutcome:
    """Denoise several inputs into a folder, each under a name like its own.

    Args:
        inputs: Files, folders, patterns and lists; see `tvjax.io.inputs.find_inputs`.
        folder: Where the outputs go.
        settings: What is decided for all of them.
        run: What denoises one input; whatever it raises is kept, and told at the end.

    Returns:
        What was done, and what failed.

    Raises:
        FileError: There is no input, two would give one output, or an output would
            replace what is read; nothing was done.
        SettingsError: A setting makes no sense for several inputs; nothing was done.
    """
    start_time = time.monotonic()
    plan = _plan(inputs, folder, settings)
    done: list[Done] = []
    failed = list(plan.failed)
    begun = 0
    for job in plan.jobs:
        try:
            done.append(Done(job, run(job)))
        except KeyboardInterrupt:
            break
        except Exception as error:
            failed.append(Failure(job.source.label, failure(error)))
        begun += 1
    warnings = (
        f"{job.source.label}: {warning}"
        for job, outcome in done
        for warning in outcome.warnings
    )
    return ManyOutcome(
        folder=folder,
        done=tuple(done),
        failed=tuple(failed),
        left_out=plan.left_out,
        not_begun=tuple(job.source.label for job in plan.jobs[begun:]),
        warnings=(*plan.left_out, *warnings),
        seconds=time.monotonic() - start_time,
    )


class _Planned(NamedTuple):
    """What is to be done, and what is known to fail."""

    jobs: tuple[Job, ...]
    failed: tuple[Failure, ...]
    left_out: tuple[str, ...]


class _Files(NamedTuple):
    """What one input reads, and its output writes."""

    reads: set[Path]
    writes: Sequence[Path]


def _plan(inputs: Paths, folder: Path, settings: Settings | StackSettings) -> _Planned:
    """Open every input, and refuse what would destroy something."""
    found = find_inputs(inputs, besides=named_files(settings))
    if isinstance(settings, StackSettings) and settings.map and len(found.found) > 1:
        raise SettingsError(
            "`map` is one file, and there are several inputs: denoise the one whose "
            "map is wanted by itself."
        )
    failed = [Failure(*each) for each in found.refused]
    left_out = list(found.left_out)
    planned: list[tuple[Input, Path, _Files]] = []
    floats = isinstance(settings, StackSettings)
    for source in found.found:
        output = folder / name_of_output(source.files, floats=floats)
        try:
            planned.append((source, output, _files(source, output, settings)))
        except (AlreadyDenoised, NoImages) as error:
            if source.sought:
                left_out.append(str(error))
            else:
                failed.append(Failure(source.label, str(error)))
        except Exception as error:
            failed.append(Failure(source.label, failure(error)))
    if not (planned or failed):
        raise FileError(f"There is nothing to denoise: {' '.join(left_out)}")
    _refuse_doubles(planned)
    _refuse_replacing(planned)
    jobs = tuple(
        Job(source, output, number, len(planned))
        for number, (source, output, _) in enumerate(planned, 1)
    )
    return _Planned(jobs, tuple(failed), tuple(left_out))


def _files(source: Input, output: Path, settings: Settings | StackSettings) -> _Files:
    """Return what denoising one input reads and writes."""
    others = named_files(settings)
    if isinstance(settings, StackSettings):
        with open_energies(source.names, settings) as stack:
            writes = files_of_stack(output, stack)
            return _Files(files_read(stack.series, others), writes)
    with open_input(source.names, settings) as series:
        frames = frame_range(series, settings.frames)
        writes = files_of_series(
            output, series, start=frames.start, stop=frames.stop, emit=settings.emit
        )
        return _Files(files_read(series, others), writes)


def _refuse_doubles(planned: Sequence[tuple[Input, Path, _Files]]) -> None:
    """Raise `FileError` if two inputs give one file."""
    owners: dict[str, Input] = {}
    for source, _, files in planned:
        for path in files.writes:
            other = owners.setdefault(os.path.realpath(path), source)
            if other is not source:
                raise FileError(
                    f"{other.label} and {source.label} would both be written to "
                    f"{path}: denoise them into two folders."
                )


def _refuse_replacing(planned: Sequence[tuple[Input, Path, _Files]]) -> None:
    """Raise `FileError` if an output would replace what any input is read from."""
    read = {
        name: (path, source)
        for source, _, files in planned
        for path in files.reads
        for name in _identities(path)
    }
    for source, _, files in planned:
        for path in files.writes:
            for name in _identities(path):
                if name in read:
                    kept, reader = read[name]
                    raise FileError(
                        f"{path}, the output of {source.label}, would replace {kept}, "
                        f"from which {reader.label} is read: choose another folder."
                    )


def _identities(path: Path) -> Iterator[str | tuple[int, int]]:
    """Yield what a file is known by, whatever path or link leads to it."""
    yield os.path.realpath(path)
    try:
        found = path.stat()
    except OSError:
        return
    yield found.st_dev, found.st_ino


def _brief(outcome: AbstractOutcome) -> str:
    """Return the most telling facts of an outcome in a few words."""
    facts = outcome.facts()
    told = [f"{name} {facts[name]}" for name in ("alpha", "rank") if name in facts]
    return ", ".join((*told, f"{outcome.seconds:.1f} s"))
