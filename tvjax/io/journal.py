"""What a run has done, kept beside its output until that is complete.

A journal only grows, by one entry after the other, so that a run may end at any moment.
An entry is a head in JSON and arrays, each with a checksum: what is torn or damaged is
as if it had not been done.
"""

import contextlib
import errno
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from tvjax.io.errors import cannot_write, FileError
from tvjax.io.packing import pack_array, unpack_array
from tvjax.io.staging import hidden_file, NO_LOCKS

# Before each entry: the sizes of its head and of its arrays, and the checksums of the
# head and of the arrays.
_SIZES = struct.Struct("<IQII")
# Greatest size of a head, beyond which it must be damage.
_LONGEST = 2**24
_FORMAT = "tvjax journal 1"


class Entry(NamedTuple):
    """Something that was done, and what it gave."""

    facts: dict[str, Any]  # in types that JSON knows
    arrays: tuple[np.ndarray, ...]


class _Place(NamedTuple):
    """Where the arrays of an entry lie, and what its head says."""

    start: int
    size: int
    checksum: int
    head: dict[str, Any]


class Header(NamedTuple):
    """Which run a journal is of.

    Attributes:
        run: All that its results follow from, by what a sentence calls it.
        unit: What its entries are, in the plural.
        total: Number of entries of the whole run, where it is known.
    """

    run: dict[str, str]
    unit: str
    total: int | None = None

    def differences(self, run: Mapping[str, str]) -> list[str]:
        """Return what another run differs in, as far as it says what it is."""
        told = [
            f"{name} ({self.run.get(name, 'nothing')} then, {value} now)"
            for name, value in run.items()
            if self.run.get(name) != value
        ]
        return told

    def so_far(self, num_entries: int) -> str:
        """Return how much was done, in words."""
        of_all = "" if self.total is None else f" of {self.total}"
        return f"{num_entries}{of_all} {self.unit}"


class Journal:
    """What one run has done, held by one process at a time.

    Attributes:
        path: The file.
        header: Which run it is of; None where the file tells nothing.
        error: Why nothing more was kept, if something could not be written.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        """Read what is in a file, which the journal closes in the end."""
        self.path = path
        self.header: Header | None = None
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._places: dict[str, _Place] = {}
        self._end = 0
        self._read()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        """Return whether there is an entry of this name, whole or not."""
        return key in self._places

    def begin(self, header: Header) -> None:
        """Make an empty journal that of a run.

        Raises:
            OSError: It cannot be written.
        """
        self._append(header._asdict() | {"format": _FORMAT}, b"")
        self.header = header

    def keep(
        self, key: str, facts: Mapping[str, Any], arrays: Sequence[np.ndarray]
    ) -> None:
        """Add an entry; once one cannot be written, no other is."""
        if self.error is not None:
            return
        packed = [pack_array(array) for array in arrays]
        head = {
            "key": key,
            "facts": dict(facts),
            "arrays": [description for description, _ in packed],
        }
        try:
            self._append(head, b"".join(content for _, content in packed))
        except OSError as error:
            self.error = error
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)

    def recall(self, key: str) -> Entry | None:
        """Return the entry of this name; None where there is none that is whole."""
        place = self._places.get(key)
        if place is None:
            return None
        try:
            content = os.pread(self._descriptor, place.size, place.start)
            if zlib.crc32(content) != place.checksum:
                return None
            arrays, start = [], 0
            for description in place.head["arrays"]:
                stop = start + description["size"]
                arrays.append(unpack_array(description, content[start:stop]))
                start = stop
        # what a computer that lost its power has left may be anything
        except (OSError, KeyError, TypeError, ValueError, RuntimeError):
            return None
        return Entry(place.head["facts"], tuple(arrays))

    def __enter__(self) -> "Journal":
        """Return the journal, which the end of the block closes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Let others have the file."""
        self.close()

    def lock(self) -> None:
        """Keep other runs from it, until it is closed.

        Raises:
            BlockingIOError: Another run has it.
            OSError: There are no locks on this disk.
        """
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Let others have the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Close and remove the file, unless another has taken its name."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.lstat(self.path), os.fstat(self._descriptor)):
                self.path.unlink()
        self.close()

    def set_aside(self, path: Path) -> None:
        """Give the file another name, under which a run may still find it."""
        os.replace(self.path, path)
        self.path = path

    def _append(self, head: Mapping[str, Any], content: bytes) -> None:
        """Write an entry behind the last whole one."""
        text = json.dumps(head).encode()
        sizes = len(text), len(content), zlib.crc32(text), zlib.crc32(content)
        entry = memoryview(_SIZES.pack(*sizes) + text + content)
        written = 0
        while written < len(entry):
            place = self._end + written
            written += os.pwrite(self._descriptor, entry[written:], place)
        start = self._end + _SIZES.size + len(text)
        self._end += len(entry)
        if "key" in head:
            place = _Place(start, len(content), sizes[-1], dict(head))
            self._places[head["key"]] = place

    def _read(self) -> None:
        """Read the heads, up to the end or to the first that is damaged."""
        length = os.fstat(self._descriptor).st_size
        while (found := self._head_at(self._end)) is not None:
            head, start, size, checksum = found
            if start + size > length:
                break
            if self._end == 0:
                if head.get("format") != _FORMAT:
                    break
                self.header = Header(head["run"], head["unit"], head["total"])
            else:
                self._places[head["key"]] = _Place(start, size, checksum, head)
            self._end = start + size

    def _head_at(self, place: int) -> tuple[dict[str, Any], int, int, int] | None:
        """Return the head at a place, and where its arrays are; None for damage."""
        raw = os.pread(self._descriptor, _SIZES.size, place)
        if len(raw) < _SIZES.size:
            return None
        length, size, of_head, of_arrays = _SIZES.unpack(raw)
        if not 0 < length <= _LONGEST:
            return None
        start = place + _SIZES.size
        text = os.pread(self._descriptor, length, start)
        if len(text) < length or zlib.crc32(text) != of_head:
            return None
        return json.loads(text), start + length, size, of_arrays


def open_journal(output: Path, header: Header, *, resume: bool) -> Journal:
    """Return the journal of a run that writes `output`.

    A run that is not to go on from an earlier one begins its own, and puts the longest
    of the earlier ones aside, where it can still be resumed.

    Args:
        output: What the user calls the output.
        header: Which run it is.
        resume: Whether to go on from what an earlier run has kept.

    Raises:
        FileError: What was kept is of another run, another run writes the output, or
            nothing can be written beside it.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        found = _found(output)
        if resume and found:
            return _fitting(output, found, header.run)
        path, aside = _names(output)
        if found:
            longest = max(found, key=len)
            longest.set_aside(aside)
            longest.close()
            for journal in found:
                if journal is not longest:
                    journal.remove()
        journal = _locked(output, path, create=True)
        assert journal is not None
        journal.begin(header)
    except OSError as error:
        raise cannot_write(output, error) from error
    return journal


def check_journal(output: Path, run: Mapping[str, str]) -> None:
    """Raise `FileError` if what was kept is of another run than `run`, or in use."""
    found = _found(output)
    if found:
        _fitting(output, found, run).close()


def forget_journals(output: Path) -> None:
    """Remove all that runs have kept of an output, now that it is complete."""
    for journal in _found(output):
        journal.remove()


def kept_so_far(output: Path) -> str | None:
    """Return how much an unfinished run has kept, in words; None for nothing."""
    best, words = 0, None
    for path in _names(output):
        with contextlib.suppress(OSError), _opened(path, os.O_RDONLY) as journal:
            if journal.header is not None and len(journal) > best:
                best, words = len(journal), journal.header.so_far(len(journal))
    return words


def unfinished_run(output: Path) -> str | None:
    """Return a sentence about an unfinished run to an output; None if there is none."""
    kept = kept_so_far(output)
    if kept is None:
        return None
    return (
        f"An earlier run to {output} was not finished, and {kept} of it are kept: "
        "--resume goes on from there, and without it all is computed again."
    )


def _names(output: Path) -> tuple[Path, Path]:
    """Return the names of the journal of a run, and of one put aside."""
    return hidden_file(output, "journal"), hidden_file(output, "earlier.journal")


def _found(output: Path) -> list[Journal]:
    """Return the journals that hold something, and remove the others."""
    found = []
    try:
        for path in _names(output):
            journal = _locked(output, path)
            if journal is not None and len(journal):
                found.append(journal)
            elif journal is not None:
                journal.remove()
    except BaseException:
        _close(found)
        raise
    return found


def _fitting(output: Path, found: Sequence[Journal], run: Mapping[str, str]) -> Journal:
    """Return the longest journal of a run, and close the others."""
    fitting, differences = [], []
    for journal in found:
        differences = journal.header.differences(run) if journal.header else []
        if journal.header and not differences:
            fitting.append(journal)
    best = max(fitting, key=len, default=None)
    _close(journal for journal in found if journal is not best)
    if best is not None:
        return best
    raise FileError(
        f"{output} cannot be resumed, since what was begun differs in "
        f"{', '.join(differences)}: repeat it as it was, or leave out --resume."
    )


def _close(journals: Iterable[Journal]) -> None:
    for journal in journals:
        journal.close()


def _opened(path: Path, flags: int) -> Journal:
    """Open a file that may be a journal, not what a link leads to, nor wait for it."""
    safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return Journal(path, os.open(path, flags | safe, 0o666))


def _locked(output: Path, path: Path, *, create: bool = False) -> Journal | None:
    """Return a journal that no other run has; None where there is none.

    Raises:
        FileError: Another run has it, or a link lies in its place.
        OSError: It cannot be opened.
    """
    try:
        journal = _opened(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise FileError(
            f"{path} is a symbolic link in the place of what a run keeps: remove it."
        ) from error
    try:
        journal.lock()
    except BlockingIOError:
        journal.close()
        raise FileError(
            f"{output} is being written by another run: wait for its end, or choose "
            "another name."
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            journal.close()
            raise
    return journal
