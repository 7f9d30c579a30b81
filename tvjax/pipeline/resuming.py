"""What a run follows from, and what it keeps for another to go on from.

What is kept is found again by what it was made of: a frame by its own values, a
component by all that its image follows from. So only that is used again which would
come out the same, to the last bit, and all else is computed.
"""

import dataclasses
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Num, PyTree

from tvjax.io import FileError, Frame, Series, Tally
from tvjax.io.file_names import split_path
from tvjax.io.journal import (
    forget_journals,
    Header,
    Journal,
    kept_so_far,
    open_journal,
)
from tvjax.io.provenance import program, program_digest
from tvjax.pipeline.frames_outcome import Record
from tvjax.settings import Settings, StackSettings, TrainingSettings

AnySettings: TypeAlias = Settings | StackSettings | TrainingSettings

# Settings that change what is done with the results, not the results.
_OUTWARD = frozenset({"resume", "overwrite", "force", "emit", "map", "references"})
# Settings that name files, whose content counts.
_FILES = frozenset({"mask", "weights", "start", "flat", "dark", "energies"})

# Share of the time of a run that keeping its work may take. Where frames are denoised
# faster than they can be kept, some are computed again.
SHARE = 0.05
# Seconds that keeping may take in any case, so that short runs keep all.
FREE = 0.5


def recorded(settings: AnySettings) -> dict[str, Any]:
    """Return settings as a record has them: without whether a run was resumed."""
    values = dataclasses.asdict(settings)
    del values["resume"]
    return values


def describe_run(series: Series, settings: AnySettings) -> dict[str, str]:
    """Return what the results of a run follow from, by what a sentence calls it."""
    shape = " x ".join(map(str, (series.num_frames, *series.shape)))
    told = {
        "the version of tvjax": f"{program()} ({program_digest()})",
        "the version of JAX": jax.__version__,
        "the computer": _computer(),
        "the precision": jnp.zeros(()).dtype.name,
        "the input": ", ".join(Path(name).name for name in series.names),
        "the size of the input": shape,
    }
    for item in dataclasses.fields(settings):
        if item.name not in _OUTWARD:
            value = getattr(settings, item.name)
            named = item.name in _FILES
            told[f"`{item.name}`"] = _content(value) if named else str(value)
    return told


def digest_of(given: PyTree) -> str:
    """Return what tells a tree of arrays and numbers from any other one."""
    leaves, structure = jax.tree.flatten(given)
    digest = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        array: np.ndarray = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype.str} {np.shape(leaf)}".encode())
        digest.update(array.data)
    return digest.hexdigest()


class Encoded(NamedTuple):
    """A frame as it is stored, what that did to it, and how it was denoised."""

    stored: Num[np.ndarray, "height width"]
    tally: Tally
    record: Record


class FrameKeeper:
    """Keeps frames in a journal as they are denoised, and gives them back."""

    def __init__(self, journal: Journal, batch_size: int) -> None:
        """Keep frames that are denoised in batches of `batch_size`."""
        self.num_recalled = 0
        self._journal = journal
        self._batch_size = batch_size
        self._start = time.monotonic()
        self._spent = 0.0
        self._seen = 0
        self._keeping = True

    def recall(self, batch: Sequence[Frame]) -> list[Encoded] | None:
        """Return what became of all frames of a batch; None if it is to be computed."""
        found = []
        for frame in batch:
            encoded = self._recall(frame)
            if encoded is None:
                return None
            found.append(encoded)
        self.num_recalled += len(found)
        return found

    def keep(self, frame: Frame, encoded: Encoded) -> None:
        """Keep what became of the next frame, if there is time for its batch."""
        now = time.monotonic()
        if self._seen % self._batch_size == 0:
            self._keeping = self._spent <= max(FREE, SHARE * (now - self._start))
        self._seen += 1
        if self._keeping:
            stored, tally, record = encoded
            facts = {"of": _digest_of_frame(frame), "tally": tally, "record": record}
            self._journal.keep(str(frame.index), facts, [stored])
            self._spent += time.monotonic() - now

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence where the disk did not take what was to be kept."""
        return not_kept(self._journal)

    def _recall(self, frame: Frame) -> Encoded | None:
        """Return what became of a frame, if it is the same."""
        if str(frame.index) not in self._journal:
            return None
        entry = self._journal.recall(str(frame.index))
        if entry is None or entry.facts["of"] != _digest_of_frame(frame):
            return None
        *numbers, told = entry.facts["record"]
        record = Record(*numbers, told=tuple(told))
        return Encoded(entry.arrays[0], Tally(*entry.facts["tally"]), record)


class ResultKeeper:
    """Keeps results in a journal, and gives them back where the same is asked."""

    def __init__(self, journal: Journal) -> None:
        """Keep results in `journal`."""
        self.num_recalled = 0
        self._journal = journal

    def __call__(
        self, given: PyTree, compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Return what `compute` makes of `given`, perhaps in an earlier run.

        Args:
            given: All that the result follows from: arrays and numbers.
            compute: What makes it.
        """
        key = digest_of(given)
        entry = self._journal.recall(key)
        if entry is not None:
            self.num_recalled += 1
            return dict(zip(entry.facts["names"], entry.arrays, strict=True))
        result = compute()
        self._journal.keep(key, {"names": list(result)}, list(result.values()))
        return result

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence where the disk did not take what was to be kept."""
        return not_kept(self._journal)


@contextmanager
def journal_of(output: Path, header: Header, *, resume: bool) -> Iterator[Journal]:
    """Give a run its journal, which goes when the block ends well.

    Raises:
        FileError: What was kept is of another run, or cannot be written; or what goes
            wrong in the block, with what is kept of the work.
    """
    with open_journal(output, header, resume=resume) as journal:
        try:
            yield journal
        except FileError as error:
            if not len(journal):
                raise
            raise FileError(
                f"{str(error).removesuffix('.')}; {header.so_far(len(journal))} are "
                "kept, and the same command with --resume goes on."
            ) from error
        finally:
            if not len(journal):
                journal.remove()
    with suppress(FileError, OSError):
        forget_journals(output)  # which has its name now


@contextmanager
def kept_frames(
    output: Path, header: Header, batch_size: int, *, resume: bool
) -> Iterator[FrameKeeper]:
    """Give a run over frames what keeps them, as `journal_of` gives its journal."""
    with journal_of(output, header, resume=resume) as journal:
        yield FrameKeeper(journal, batch_size)


@contextmanager
def kept_results(
    output: Path, header: Header, *, resume: bool
) -> Iterator[ResultKeeper]:
    """Give a run what remembers its results, as `journal_of` gives its journal."""
    with journal_of(output, header, resume=resume) as journal:
        yield ResultKeeper(journal)


@contextmanager
def telling_what_is_kept(output: Path) -> Iterator[None]:
    """Let an interruption say how the run can go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = kept_so_far(output)
        if kept is None:
            raise
        raise KeyboardInterrupt(
            f"Interrupted: {output} was not written yet, {kept} are kept, and the "
            "same command with --resume goes on."
        ) from None


def not_kept(journal: Journal) -> tuple[str, ...]:
    """Return a sentence where the disk did not take what was to be kept."""
    if journal.error is None:
        return ()
    reason = journal.error.strerror or str(journal.error)
    return (
        f"{journal.path} could not be written ({reason}): had the run been "
        "interrupted, the end of it would have been computed again.",
    )


def resumed_in_words(num_recalled: int, unit: str) -> str:
    """Return how much was taken from an earlier run."""
    if not num_recalled:
        return f"no {unit} were kept by an earlier run: all are computed"
    return f"{num_recalled} {unit} kept by an earlier run"


def _computer() -> str:
    """Return what computes: another processor may round otherwise."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {jax.devices()[0].device_kind}"


def _content(text: str | None) -> str:
    """Return what a setting says, with what is in the file that it may name."""
    if text is None:
        return "None"
    with suppress(OSError, ValueError):
        path = split_path(text)[0]
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        return f"{Path(text).name} ({content})"
    return text


def _digest_of_frame(frame: Frame) -> str:
    """Return what tells the values and the mask of a frame from any others."""
    return digest_of((frame.data, frame.mask))
