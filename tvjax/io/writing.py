"""How does a series become files that other programs read?"""

import dataclasses
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from jaxtyping import Float, Num

from tvjax.io.cbf import CbfSink
from tvjax.io.encoding import choose_encoding, Encoding, Tally
from tvjax.io.errors import FileError
from tvjax.io.hdf5 import read as hdf5
from tvjax.io.hdf5.clone import Selection
from tvjax.io.hdf5.write_frames import Hdf5Sink, output_files
from tvjax.io.hdf5.write_stack import StackSink
from tvjax.io.integration_input import fragment, SUFFIXES
from tvjax.io.provenance import program, Provenance
from tvjax.io.series import Frame, Series
from tvjax.io.stack import Stack
from tvjax.io.staging import OutputFile, Staging
from tvjax.io.tiff import TiffSink

_DTYPES = {
    "HDF5": ("uint32", "int32", "float32"),
    "CBF": ("int32",),
    "TIFF": ("int32", "uint32", "float32"),
}


class Sink(Protocol):
    """Writes encoded frames in one format, in order."""

    def append(self, stored: Num[np.ndarray, "height width"], frame: Frame) -> None: ...
    def finish(self, provenance: Provenance | None) -> None: ...
    def close(self) -> None: ...


class SeriesWriter:
    """An output that appears under its name only when it is complete.

    Attributes:
        encoding: How values become stored numbers.
        tally: What writing did to the valid pixels so far.
    """

    def __init__(
        self,
        sink: Sink,
        staging: Staging,
        like: Series,
        encoding: Encoding,
        notes: dict[Path, str],
        sidecar: Path | None,
    ):
        """Write through `sink`.

        Args:
            sink: The format.
            staging: The files that `sink` writes.
            like: The input that the frames come from.
            encoding: How values become stored numbers.
            notes: Small texts that go beside the output.
            sidecar: Where the provenance goes if the format has no place for it.
        """
        self.encoding = encoding
        self.tally = Tally()
        self._sink = sink
        self._staging = staging
        self._like = like
        self._notes = notes
        self._sidecar = sidecar
        self._companions: list[tuple[Path, Callable[[OutputFile], None]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sink.close()
        self._staging.discard()

    def write(self, image: Float[np.ndarray, "height width"], frame: Frame) -> None:
        """Write the next frame: `image`, which `frame` has become.

        Raises:
            FileError: The disk is full, or cannot be written for another reason.
        """
        stored, tally = self.encoding.encode(image, frame, self._like.marks)
        self.tally = self.tally.plus(tally)
        self._sink.append(stored, frame)
        self._staging.check()

    def refuse(self, path: Path) -> None:
        """Raise `FileError` if writing `path` would destroy something."""
        self._staging.refuse([path])

    def attach(self, path: Path, write: Callable[[OutputFile], None]) -> None:
        """Let `write` fill another file, which gets its name with the others."""
        self.refuse(path)
        self._companions.append((path, write))

    def finish(self, provenance: Provenance | None = None) -> None:
        """Complete the files and give them their names, the one asked for last.

        Args:
            provenance: How the frames were denoised; None for frames that were not.

        Raises:
            FileError: The disk is full, or cannot be written for another reason.
        """
        if provenance is not None:
            provenance = dataclasses.replace(
                provenance, scale=self.encoding.scale, tally=self.tally._asdict()
            )
        self._sink.finish(provenance)
        self._sink.close()
        notes = dict(self._notes)
        if self._sidecar is not None and provenance is not None:
            notes[self._sidecar] = provenance.as_json()
        for path, text in notes.items():
            self._staging.open(path).write(text.encode())
        for path, write in self._companions:
            write(self._staging.open(path))
        self._staging.commit()


def create_series(
    path: str | PathLike[str],
    like: Series,
    *,
    start: int = 0,
    stop: int | None = None,
    dtype: str | None = None,
    scale: int | None = None,
    overwrite: bool = False,
    denoised: bool = True,
    emit: Sequence[str] = (),
) -> SeriesWriter:
    """Start an output for the frames of `like` from `start` to `stop` (excluded).

    Where input and output are HDF5, the output has the input's layout, with all that
    is in its master. Else the extension decides: `.cbf` and `.tif` give one numbered
    file a frame and a `.tvjax.json` with the provenance, `.h5` a new NXmx master.

    Args:
        path: The output. `scan_master.h5` writes `scan_data_000001.h5` beside it.
        like: The input that the frames come from.
        start: Position of the first frame in the input.
        stop: Position after the last frame; by default the end.
        dtype: `uint32`, `int32` or `float32`; by default integers for integers.
        scale: Stored value of one count; by default 16 for integers, 1 for floats.
        overwrite: Whether an existing output is replaced, at the end.
        denoised: Whether to mark the output as denoised by tvjax.
        emit: Programs (`xds`, `dials`, `crystfel`) to write input lines for.

    Returns:
        The writer, a context manager: leaving it before `finish` removes all it wrote.

    Raises:
        FileError: The output exists, cannot be written, or cannot hold the type.
    """
    path = Path(path)
    kind = _kind(path)
    stop = like.num_frames if stop is None else stop
    selection = Selection(start, stop, like.num_frames)
    encoding = choose_encoding(
        like.dtype,
        _DTYPES[kind],
        dtype=dtype,
        scale=scale,
        saturation=like.metadata.saturation,
    )
    by = program() if denoised else None
    stem = path.stem.replace("#", "").rstrip("_")
    notes = {
        path.with_name(stem + SUFFIXES[name]): fragment(name, encoding) for name in emit
    }
    sidecar = path.with_name(f"{stem}.tvjax.json") if denoised else None
    staging = Staging(protected=like.files, overwrite=overwrite)

    def create() -> Sink:
        if kind == "HDF5":
            staging.refuse([*output_files(path, like, selection), *notes])
            return Hdf5Sink(staging, path, like, selection, encoding, by)
        one = selection.num_frames == 1 or (kind == "TIFF" and _has_pages(like))
        paths = [path] if one else _numbered(path, selection.num_frames)
        staging.refuse([*paths, *filter(None, [sidecar]), *notes])
        sink = CbfSink if kind == "CBF" else TiffSink
        return sink(staging, paths, like, encoding, by)

    sink = _start(create, staging)
    return SeriesWriter(
        sink, staging, like, encoding, notes, None if kind == "HDF5" else sidecar
    )


def create_stack(
    path: str | PathLike[str],
    like: Stack,
    *,
    dtype: str | None = None,
    overwrite: bool = False,
    denoised: bool = True,
) -> SeriesWriter:
    """Start an output for the frames of an energy stack, in floating point.

    Where input and output are HDF5, the output has the input's layout and order of
    axes, with all else that is in it. From other formats, `.h5` is a new file with the
    stack and its energies as NeXus has them. `.tif` is one file with a page an energy,
    or numbered files where the name has `#` in place of the digits.

    Args:
        path: The output.
        like: The stack that the frames come from.
        dtype: `float32`, the default, or `float64`.
        overwrite: Whether an existing output is replaced, at the end.
        denoised: Whether to mark the output as denoised by tvjax.

    Returns:
        The writer, a context manager: leaving it before `finish` removes all it wrote.

    Raises:
        FileError: The output exists, cannot be written, or cannot hold the type.
    """
    path = Path(path)
    series = like.series
    num_frames = series.num_frames
    kind = _kind(path)
    if kind == "CBF":
        raise FileError(f"{path} cannot hold floats: write .h5 or .tif.")
    encoding = choose_encoding(
        series.dtype, ("float32", "float64"), dtype=dtype or "float32", scale=1
    )
    by = program() if denoised else None
    stem = path.stem.replace("#", "").rstrip("_")
    sidecar = path.with_name(f"{stem}.tvjax.json") if denoised else None
    staging = Staging(protected=series.files, overwrite=overwrite)

    def create() -> Sink:
        if kind == "TIFF":
            one = "#" not in path.name
            paths = [path] if one else _numbered(path, num_frames)
            staging.refuse([*paths, *filter(None, [sidecar])])
            # Descriptions tell how many pages there are: they serve the same number.
            kept = series.kind if one == _has_pages(series) else "stack"
            like_series = dataclasses.replace(series, kind=kept)
            return TiffSink(staging, paths, like_series, encoding, by)
        if series.layout is None:
            return StackSink(staging, path, like, encoding, by)
        selection = Selection(0, num_frames, num_frames)
        staging.refuse(output_files(path, series, selection))
        return Hdf5Sink(staging, path, series, selection, encoding, by, like.unit)

    sink = _start(create, staging)
    return SeriesWriter(
        sink, staging, series, encoding, {}, None if kind == "HDF5" else sidecar
    )


def _start(create: Callable[[], Sink], staging: Staging) -> Sink:
    """Return the sink that `create` makes, or leave nothing."""
    sink: Sink | None = None
    try:
        sink = create()
        staging.check()
        return sink
    except BaseException:
        # HDF5 crashes at the interpreter's exit if its file is gone before it.
        try:
            if sink is not None:
                sink.close()
        finally:
            staging.discard()
        raise


def save_series(
    path: str | PathLike[str],
    series: Series,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write frames as they are, for example simulated ones.

    Args:
        path: The output, as for `create_series`.
        series: The frames.
        overwrite: Whether an existing output is replaced, at the end.
        progress: Called with the frames done and their number.

    Raises:
        FileError: The output exists or cannot be written.
    """
    with create_series(
        path, series, scale=1, overwrite=overwrite, denoised=False
    ) as writer:
        for frame in series.frames():
            writer.write(frame.data, frame)
            progress(frame.index + 1, series.num_frames)
        writer.finish()


def save_stack(
    path: str | PathLike[str], stack: Stack, *, overwrite: bool = False
) -> None:
    """Write a stack as it is, in float32.

    Args:
        path: The output, as for `create_stack`.
        stack: The frames.
        overwrite: Whether an existing output is replaced, at the end.

    Raises:
        FileError: The output exists or cannot be written.
    """
    with create_stack(path, stack, overwrite=overwrite, denoised=False) as writer:
        for frame in stack.series.frames():
            writer.write(frame.data, frame)
        writer.finish()


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in hdf5.SUFFIXES:
        return "HDF5"
    if suffix == ".cbf":
        return "CBF"
    if suffix in (".tif", ".tiff"):
        return "TIFF"
    raise FileError(
        f"{path} has no extension that tvjax writes: "
        f"use {', '.join(hdf5.SUFFIXES)}, .cbf or .tif."
    )


def _has_pages(like: Series) -> bool:
    return like.kind == "tiff" and like.num_frames > len(like.files)


def _numbered(path: Path, num_frames: int) -> list[Path]:
    """Return one name a frame, numbered from 1, in place of `#` where there is any."""
    width = path.name.count("#") or 5
    stem = path.stem if "#" in path.name else f"{path.stem}_{'#' * width}"
    return [
        path.with_name(stem.replace("#" * width, f"{number:0{width}d}") + path.suffix)
        for number in range(1, num_frames + 1)
    ]
