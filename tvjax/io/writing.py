"""Series and stacks, written to files that other programs read."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Num

from tvjax.io.encoding import choose_encoding, Encoding, Tally
from tvjax.io.errors import FileError, lost, reading
from tvjax.io.file_names import numbered, unnumbered_stem
from tvjax.io.formats import output_format, Sink
from tvjax.io.hdf5 import write_frames
from tvjax.io.hdf5.layout import Layout
from tvjax.io.hdf5.tree import linked_files
from tvjax.io.hdf5.write_frames import Hdf5Sink
from tvjax.io.hdf5.write_stack import StackSink
from tvjax.io.integration_input import integration_input, SUFFIXES
from tvjax.io.proof import Ledger, Shown
from tvjax.io.provenance import program, Provenance
from tvjax.io.series import Frame, Selection, Series
from tvjax.io.stack import Stack
from tvjax.io.staging import OutputFile, Staging
from tvjax.io.tiff import has_pages

# What fills a file, and what looks whether it is what it should be.
Write = Callable[[OutputFile], None]
Prove = Callable[[Path], None]


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
        ledger: Ledger,
        notes: dict[Path, str],
        sidecar: Path | None,
    ) -> None:
        """Write through `sink`.

        Args:
            sink: What writes the frames in one format.
            staging: The files that `sink` writes.
            like: The input that the frames come from.
            encoding: How values become stored numbers.
            ledger: What the output has to show.
            notes: Small texts by the files beside the output that they go to.
            sidecar: File of the provenance if the format has no place for it.
        """
        self.encoding = encoding
        self.tally = Tally()
        self._sink = sink
        self._staging = staging
        self._like = like
        self._ledger = ledger
        self._notes = notes
        self._sidecar = sidecar
        self._companions: list[tuple[Path, Write, Prove | None]] = []

    def __enter__(self) -> "SeriesWriter":
        """Return the writer, whose files go at the end of the block if not finished."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Remove all that was written, unless it was finished."""
        self._sink.close()
        self._staging.discard()

    def write(self, image: Num[np.ndarray, "height width"], frame: Frame) -> None:
        """Write the next frame: `image`, which `frame` has become.

        Raises:
            FileError: The disk is full, or cannot be written for another reason.
        """
        self.append(*self.encode(image, frame), frame)

    def encode(
        self, image: Num[np.ndarray, "height width"], frame: Frame
    ) -> tuple[Num[np.ndarray, "height width"], Tally]:
        """Return `image`, denoised from `frame`, as stored, and what that did to it."""
        return self.encoding.encode(image, frame, self._like.invalid_values)

    def append(
        self, stored: Num[np.ndarray, "height width"], tally: Tally, frame: Frame
    ) -> None:
        """Write the next frame, which is encoded, perhaps by an earlier run.

        Raises:
            FileError: The disk is full, or cannot be written for another reason.
        """
        self.tally = self.tally.plus(tally)
        self._ledger.note(stored, frame)
        self._sink.append(stored, frame)
        self._staging.check()

    def refuse(self, path: Path) -> None:
        """Raise `FileError` if writing `path` would destroy something."""
        self._staging.refuse([path])

    def attach(self, path: Path, write: Write, prove: Prove | None = None) -> None:
        """Let another file get its name with the others.

        Args:
            path: Its name.
            write: Fills it.
            prove: Raises `FileError` where it is not what it should be; None for what
                needs no proof.

        Raises:
            FileError: Writing it would destroy something.
        """
        self.refuse(path)
        self._companions.append((path, write, prove))

    def finish(self, provenance: Provenance | None = None) -> None:
        """Complete the files, prove them, and name them, the one asked for last.

        Args:
            provenance: How the frames were denoised; None for frames that were not.

        Raises:
            FileError: The disk is full, or cannot be written for another reason, or the
                output would not show what was written.
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
        for path, write, _ in self._companions:
            write(self._staging.open(path))

        def prove(shown: Shown) -> None:
            self._ledger.prove(shown)
            for path, text in notes.items():
                if shown(path).read_bytes() != text.encode():
                    raise lost(path, "it has another text than was written")
            for path, _, prove_one in self._companions:
                if prove_one is not None:
                    prove_one(shown(path))

        self._staging.commit(prove)


def files_of_series(
    path: Path, like: Series, *, start: int, stop: int, emit: Sequence[str] = ()
) -> list[Path]:
    """Return every file that `create_series` gives for denoised frames."""
    selection = Selection(start, stop, like.num_frames)
    target = output_format(path)
    return [
        *target.output_files(path, like, selection),
        *([] if target.KEEPS_PROVENANCE else [_sidecar(path)]),
        *(_note(path, name) for name in emit),
    ]


def files_of_stack(path: Path, like: Stack) -> list[Path]:
    """Return every file that `create_stack` gives for a denoised stack."""
    target, series = output_format(path), like.series
    selection = Selection(0, series.num_frames, series.num_frames)
    if target is write_frames:
        known = series.layout is not None
        return target.output_files(path, series, selection) if known else [path]
    return [*_stack_images(path, series), _sidecar(path)]


def files_read(series: Series, others: Iterable[Path]) -> set[Path]:
    """Return every file that a run reads, with those that its master leads to."""
    files = {*series.files, *others}
    if series.layout is not None:
        with reading(series.layout.path):
            files |= linked_files(series.layout.file)
    return files


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
    reads: Iterable[Path] = (),
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
        reads: Other files that are read, such as a mask, and must survive.

    Returns:
        The writer, a context manager: leaving it before `finish` removes all it wrote.

    Raises:
        FileError: The output exists, cannot be written, or cannot hold the type.
    """
    path = Path(path)
    target = output_format(path)
    stop = like.num_frames if stop is None else stop
    selection = Selection(start, stop, like.num_frames)
    encoding = choose_encoding(
        like.dtype,
        target.DTYPES,
        dtype=dtype,
        scale=scale,
        saturation=like.metadata.saturation,
    )
    by = program() if denoised else None
    notes = {_note(path, name): integration_input(name, encoding) for name in emit}
    beside = denoised and not target.KEEPS_PROVENANCE
    sidecar = _sidecar(path) if beside else None
    staging = Staging(path, protected=files_read(like, reads), overwrite=overwrite)

    files = target.output_files(path, like, selection)

    def create() -> Sink:
        staging.refuse([*files, *filter(None, [sidecar]), *notes])
        staging.claim()
        return target.create_sink(staging, files, like, selection, encoding, by)

    sink = _start(create, staging, like.layout)
    ledger = Ledger(
        output=path,
        files=files,
        like=like,
        selection=selection,
        dtype=encoding.dtype,
        program=by,
        slots=sink.slots if isinstance(sink, Hdf5Sink) else None,
    )
    return SeriesWriter(sink, staging, like, encoding, ledger, notes, sidecar)


def create_stack(
    path: str | PathLike[str],
    like: Stack,
    *,
    dtype: str | None = None,
    overwrite: bool = False,
    denoised: bool = True,
    reads: Iterable[Path] = (),
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
        reads: Other files that are read, such as flats, and must survive.

    Returns:
        The writer, a context manager: leaving it before `finish` removes all it wrote.

    Raises:
        FileError: The output exists, cannot be written, or cannot hold the type.
    """
    path = Path(path)
    series = like.series
    num_frames = series.num_frames
    target = output_format(path)
    if "float32" not in target.DTYPES:
        raise FileError(f"{path} cannot hold floats: write .h5 or .tif.")
    encoding = choose_encoding(
        series.dtype, ("float32", "float64"), dtype=dtype or "float32", scale=1
    )
    by = program() if denoised else None
    beside = denoised and not target.KEEPS_PROVENANCE
    sidecar = _sidecar(path) if beside else None
    staging = Staging(path, protected=files_read(series, reads), overwrite=overwrite)
    selection = Selection(0, num_frames, num_frames)

    files = _stack_images(path, series)

    def create() -> Sink:
        if target is not write_frames:
            staging.refuse([*files, *filter(None, [sidecar])])
            staging.claim()
            # Descriptions tell how many pages there are: they serve the same number.
            one = len(files) == 1
            kept = series.kind if one == has_pages(series) else "stack"
            frames = dataclasses.replace(series, kind=kept)
            return target.create_sink(staging, files, frames, selection, encoding, by)
        if series.layout is None:
            return StackSink(staging, path, like, encoding, by)
        staging.refuse(target.output_files(path, series, selection))
        return Hdf5Sink(staging, path, series, selection, encoding, by, like.unit)

    sink = _start(create, staging, series.layout)
    ledger = Ledger(
        output=path,
        files=files,
        like=series,
        selection=selection,
        dtype=encoding.dtype,
        program=by,
        slots=sink.slots if isinstance(sink, Hdf5Sink | StackSink) else None,
        is_stack=True,
        energies=like.energies,
    )
    return SeriesWriter(sink, staging, series, encoding, ledger, {}, sidecar)


def _sidecar(path: Path) -> Path:
    """Return the file of the provenance where the output has no place for it."""
    return path.with_name(f"{unnumbered_stem(path)}.tvjax.json")


def _note(path: Path, name: str) -> Path:
    """Return the file of the lines that an integration program needs."""
    return path.with_name(unnumbered_stem(path) + SUFFIXES[name])


def _stack_images(path: Path, series: Series) -> list[Path]:
    """Return the image files of a stack: one, or one for each energy."""
    selection = Selection(0, series.num_frames, series.num_frames)
    one = "#" not in path.name
    return [path] if one else numbered(path, series.numbers_of(selection))


def _start(create: Callable[[], Sink], staging: Staging, layout: Layout | None) -> Sink:
    """Return the sink that `create` makes for an input, or leave nothing."""
    source = None if layout is None else layout.path
    sink: Sink | None = None
    try:
        # what is copied of an input may be damaged, and only that can fail in HDF5
        with nullcontext() if source is None else reading(source):
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
