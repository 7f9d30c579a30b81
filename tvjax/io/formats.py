"""The formats of frames: what each must provide, and the tables of all there are.

A format is a module. To read it, the module provides what `ReadableFormat` names and
stands in `READABLE`; to write it, what `WritableFormat` names and stands in `WRITABLE`.
Nothing else in the package knows one format from another, save that HDF5 keeps whole
series, and energy stacks in a layout of their own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import h5py
import numpy as np
from jaxtyping import Num

from tvjax.io import cbf, detectors, tiff
from tvjax.io.compressed import open_binary
from tvjax.io.encoding import Encoding
from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5 import write_frames
from tvjax.io.provenance import Provenance
from tvjax.io.series import Description, Frame, Selection, Series
from tvjax.io.staging import Staging


@runtime_checkable
class ReadableFormat(Protocol):
    """A format of image files, each with one frame or several."""

    @property
    def NAME(self) -> str:
        """The name of the format, which becomes the `kind` of a series."""
        ...

    @property
    def MAGICS(self) -> tuple[bytes, ...]:
        """The first bytes by which its files are known, eight at most."""
        ...

    def describe(self, path: Path) -> Description:
        """Return number of frames, metadata, and who denoised them."""
        ...

    def read(
        self, path: Path, start: int, stop: int
    ) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
        """Yield each frame from `start` to `stop` as stored, and its header.

        Whatever an incomplete file makes it raise becomes a `FileError` that names the
        file; only an incomplete frame must not come out as a whole one.
        """
        ...


@runtime_checkable
class Sink(Protocol):
    """Writes encoded frames in one format, in order."""

    def append(self, stored: Num[np.ndarray, "height width"], frame: Frame) -> None:
        """Write the next frame: `stored`, which `frame` has become."""
        ...

    def finish(self, provenance: Provenance | None) -> None:
        """Write what is known only at the end."""
        ...

    def close(self) -> None:
        """Close what is open, whether the output is complete or not."""
        ...


@runtime_checkable
class WritableFormat(Protocol):
    """A format that series are written in."""

    @property
    def NAME(self) -> str:
        """The name of the format, as the `kind` of a series has it."""
        ...

    @property
    def SUFFIXES(self) -> tuple[str, ...]:
        """The extensions of its files, in lower case."""
        ...

    @property
    def DTYPES(self) -> tuple[str, ...]:
        """The types that it can hold, the preferred integer first."""
        ...

    @property
    def KEEPS_PROVENANCE(self) -> bool:
        """Whether its files have a place for the provenance; else it goes beside."""
        ...

    def output_files(
        self, path: Path, like: Series, selection: Selection
    ) -> list[Path]:
        """Return the files that writing the selected frames to `path` creates."""
        ...

    def create_sink(
        self,
        staging: Staging,
        files: list[Path],
        like: Series,
        selection: Selection,
        encoding: Encoding,
        program: str | None,
    ) -> Sink:
        """Start to write `files`.

        Args:
            staging: Where files are opened, for them to appear only when complete.
            files: What `output_files` returned, or one file for all frames.
            like: The input that the frames come from.
            selection: Which of its frames are written.
            encoding: How values become stored numbers.
            program: Program that denoises, None if nobody does.
        """
        ...


# By first bytes; fabio comes last and is asked for all that no other format knows.
READABLE: tuple[ReadableFormat, ...] = (cbf, tiff, detectors)

# By extension.
WRITABLE: tuple[WritableFormat, ...] = (write_frames, cbf, tiff)


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, by its first bytes."""
    with reading(path), path.open("rb"):
        return bool(h5py.is_hdf5(path))


def format_of(path: Path) -> ReadableFormat:
    """Return the format of an image file, by its first bytes.

    Raises:
        FileError: The file cannot be read.
    """
    with reading(path), open_binary(path) as file:
        start = file.read(8)
    for known in READABLE:
        if start.startswith(known.MAGICS):
            return known
    return READABLE[-1]


def output_format(path: Path) -> WritableFormat:
    """Return the format that an output's extension asks for.

    Raises:
        FileError: No format has this extension.
    """
    for known in WRITABLE:
        if path.suffix.lower() in known.SUFFIXES:
            return known
    raise FileError(
        f"{path} has no extension that tvjax writes: "
        f"use {', '.join(write_frames.SUFFIXES)}, .cbf or .tif, or end the name in / "
        "for a folder."
    )
