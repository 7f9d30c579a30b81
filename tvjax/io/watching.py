"""Series that grow: a file that is being written, or a folder that fills.

Nothing is held open between two looks, so that no writer meets a lock.
"""

import dataclasses
from collections.abc import Sequence
from os import fspath, PathLike
from pathlib import Path
from typing import Protocol, runtime_checkable

from tvjax.io.errors import FileError, reading
from tvjax.io.file_names import (
    is_pattern,
)
from tvjax.io.filling import GrowingFolder
from tvjax.io.formats import is_hdf5
from tvjax.io.hdf5.growing import expected_frames, written_frames
from tvjax.io.hdf5.read import open_hdf5
from tvjax.io.hdf5.write_frames import SUFFIXES
from tvjax.io.reading import Paths
from tvjax.io.series import Frame, Series

# Seconds for which a file has not changed when it is taken to be complete, and seconds
# since its last change after which one that was there before is.
SETTLED, OLD = 0.3, 3.0


@runtime_checkable
class Growing(Protocol):
    """A series of which more comes."""

    def look(self, *, last: bool = False) -> int:
        """Return how many frames have come.

        Args:
            last: Whether nothing has changed for long, and what is there is complete.
        """
        ...

    def take(self, start: int, stop: int, like: Series | None) -> list[Frame]:
        """Return frames in the order in which they came.

        Args:
            start: The first.
            stop: The one after the last.
            like: The series as it was opened first, which tells invalid pixels.
        """
        ...

    def open(self) -> Series:
        """Return what has come as a series."""
        ...

    def order(self) -> Sequence[int]:
        """Return which of the frames, as they came, is each of the series."""
        ...

    @property
    def expected(self) -> int | None:
        """With how many frames the series is complete, where anything tells."""
        ...

    @property
    def doubts(self) -> tuple[str, ...]:
        """What could not be read so far, a sentence each."""
        ...


def watch(inputs: Paths, dataset: str | None = None) -> Growing:
    """Return a series that grows.

    Args:
        inputs: An HDF5 file, a folder, a pattern in the names of images, or the first
            of numbered images; the files need not be there yet.
        dataset: Path of the images in an HDF5 file that holds several stacks.

    Raises:
        FileError: Several inputs are named.
    """
    names = [inputs] if isinstance(inputs, str | PathLike) else list(inputs)
    if len(names) != 1:
        raise FileError(
            f"{len(names)} inputs are named, and --watch follows one: name a master, a "
            "folder, or a pattern in quotes."
        )
    name = fspath(names[0])
    path = Path(name)
    if path.is_dir() or is_pattern(name):
        return GrowingFolder(name)
    hdf5 = is_hdf5(path) if path.is_file() else path.suffix.lower() in SUFFIXES
    return GrowingFile(path, dataset) if hdf5 else GrowingFolder(name)


class GrowingFile:
    """An HDF5 file that is being written: alone, or a master whose data files come."""

    def __init__(self, path: Path, dataset: str | None) -> None:
        """Watch a file that need not be there yet."""
        self._path = path
        self._dataset = dataset
        self._come = 0
        self._last = False
        self._expected: int | None = None
        self._doubt = ""

    @property
    def expected(self) -> int | None:
        """With how many frames the series is complete, where the file tells."""
        return self._expected

    @property
    def doubts(self) -> tuple[str, ...]:
        """What could not be read at the last look."""
        return (self._doubt,) if self._doubt else ()

    def look(self, *, last: bool = False) -> int:
        """Return how many frames have come."""
        self._last = last
        self._doubt = ""
        try:
            with self._opened() as series:
                self._count(series)
        except FileError as error:
            self._doubt = str(error)
        return self._come

    def take(self, start: int, stop: int, like: Series | None) -> list[Frame]:
        """Return the frames from `start` to `stop` (excluded)."""
        with self.open() as series:
            return list(series.as_before(like).frames(start, stop))

    def open(self) -> Series:
        """Return the file as a series of all frames that it is to have."""
        series = self._opened()
        total = max(series.num_frames, self._expected or 0)
        return dataclasses.replace(series, num_frames=total)

    def order(self) -> Sequence[int]:
        """Return the frames in the order of the file."""
        return range(self._come)

    def _opened(self) -> Series:
        return open_hdf5(self._path, self._dataset, partial=True, growing=True)

    def _count(self, series: Series) -> None:
        """Note which frames have come: never fewer than at an earlier look."""
        layout = series.layout
        if layout is not None:
            with reading(layout.path):
                come = written_frames(layout.datasets, settled=self._last)
                self._expected = expected_frames(layout)
            self._come = max(self._come, come)
