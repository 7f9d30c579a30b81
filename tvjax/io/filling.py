"""A folder that fills with the images of one series."""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tvjax.io.errors import FileError, reading
from tvjax.io.file_names import (
    by_numbers,
    expand,
    frame_name,
    is_pattern,
    later,
)
from tvjax.io.formats import format_of
from tvjax.io.hdf5.write_frames import SUFFIXES
from tvjax.io.inputs import named_as_image
from tvjax.io.reading import open_series
from tvjax.io.series import Frame, Series

# Seconds for which a file has not changed when it is taken to be complete, and seconds
# since its last change after which one that was there before is.
SETTLED, OLD = 0.3, 3.0


class GrowingFolder:
    """Numbered images of one series that come one by one, in whatever order."""

    def __init__(self, name: str) -> None:
        """Watch a folder, the files that match a pattern, or those after the first."""
        self._name = name
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}  # size, time; since
        self._files: list[Path] = []  # as they came
        self._doubts: dict[Path, str] = {}
        self._shape: tuple[tuple[int, ...], np.dtype] | None = None

    @property
    def expected(self) -> int | None:
        """None: a folder never tells what is still to come."""
        return None

    @property
    def doubts(self) -> tuple[str, ...]:
        """What could not be read so far."""
        return tuple(self._doubts.values())

    def look(self, *, last: bool = False) -> int:
        """Return how many files are there that have not changed and can be read."""
        here = {*self._matches()} - {*self._files}
        for path in sorted(here, key=by_numbers):
            if self._is_settled(path, last):
                self._admit(path)
        return len(self._files)

    def take(self, start: int, stop: int, like: Series | None) -> list[Frame]:
        """Return frames in the order in which their files came."""
        frames = []
        for index, path in enumerate(self._files[start:stop], start):
            with open_series([path]).as_before(like) as series:
                (frame,) = series.frames()
            frames.append(dataclasses.replace(frame, index=index))
        return frames

    def open(self) -> Series:
        """Return the files in the order of their numbers."""
        return open_series(sorted(self._files, key=by_numbers))

    def order(self) -> Sequence[int]:
        """Return the frames, as they came, in the order of their numbers."""
        came = range(len(self._files))
        return sorted(came, key=lambda index: by_numbers(self._files[index]))

    def _matches(self) -> list[Path]:
        """Return the files that are there, whatever state they are in."""
        path = Path(self._name)
        with reading(path):
            if path.is_dir():
                inside = [p for p in path.iterdir() if p.name[0] != "." and p.is_file()]
                return self._of_series(path, filter(named_as_image, inside))
        if is_pattern(self._name):
            try:
                return expand(self._name)
            except FileError:
                return []  # none has come
        return [*([path] if path.is_file() else []), *later(path)]

    def _of_series(self, folder: Path, images: Iterable[Path]) -> list[Path]:
        """Return the frames among the images in a folder, once it is clear which."""
        images = list(images)
        if not self._files:
            _check_series(folder, images)
            return images
        first = _series_name(self._files[0])
        for other in (each for each in images if _series_name(each) != first):
            self._doubts[other] = f"{other} is of another series, and was left out."
        return [each for each in images if _series_name(each) == first]

    def _is_settled(self, path: Path, last: bool) -> bool:
        """Return whether a file has not changed for a while."""
        try:
            found = path.stat()
        except OSError:
            return False  # it had another name for a moment
        now, state = time.monotonic(), (found.st_size, found.st_mtime_ns)
        before, since = self._seen.get(path, (None, now))
        if state != before:
            self._seen[path] = state, now
            since = now
        old = time.time() - found.st_mtime > OLD
        return found.st_size > 0 and (last or old or now - since >= SETTLED)

    def _admit(self, path: Path) -> None:
        """Take a file among those that have come, if it is whole."""
        try:
            source = format_of(path)
            with reading(path):
                number = source.describe(path).num_frames
                image, _ = next(source.read(path, 0, 1))
        except FileError as error:
            self._doubts[path] = f"{error} It was left out."
            return
        kind = image.shape, image.dtype
        self._shape = self._shape or kind
        if kind != self._shape or number != 1:
            self._doubts[path] = (
                f"{path} has {number} frames of {image.shape} {image.dtype}, unlike "
                "those before, and was left out: denoise it by itself."
            )
            return
        self._doubts.pop(path, None)
        self._files.append(path)


def _check_series(folder: Path, files: Sequence[Path]) -> None:
    """Raise `FileError` if the files in a folder are not the frames of one series."""
    series = {_series_name(each) for each in files}
    hdf5 = [each for each in files if each.suffix.lower() in SUFFIXES]
    if hdf5:
        raise FileError(
            f"{folder} fills with HDF5, such as {hdf5[0].name}: name the file to watch."
        )
    if len(series) > 1:
        some = " and ".join(sorted(series)[:2])
        raise FileError(
            f"{folder} holds several series, such as {some}: "
            "name a pattern in quotes for the one to watch."
        )


def _series_name(path: Path) -> str:
    """Return the name that the frames of one series share."""
    name = frame_name(path)
    return path.name if name is None else f"{name.start}#{name.end}"
