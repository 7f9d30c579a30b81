"""TIFF images, MarCCD's among them, read and written."""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import cast, IO

import numpy as np
import tifffile
from jaxtyping import Num

from tvjax.io.compressed import open_binary
from tvjax.io.dectris_header import amend_header, compose_header, parse_header
from tvjax.io.encoding import Encoding
from tvjax.io.errors import FileError
from tvjax.io.file_names import numbered
from tvjax.io.provenance import PROGRAM, Provenance
from tvjax.io.series import Description, Frame, Selection, Series
from tvjax.io.staging import OutputFile, Staging

# What the tables of formats know this one by, and what it can hold.
NAME = "tiff"
MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUFFIXES = (".tif", ".tiff")
DTYPES = ("int32", "uint32", "float32")
KEEPS_PROVENANCE = False

# Bytes within reach of the addresses in an ordinary TIFF, less some for its tags.
_ADDRESSED = 2**32 - 2**25


def describe(path: Path) -> Description:
    """Return the number of pages and the metadata in the first one's description."""
    with _open(path) as tiff:
        page = _page(tiff, 0)
        by = page.software if page.software.startswith(f"{PROGRAM} ") else None
        _check_chain(tiff)
        return Description(len(tiff.pages), parse_header(page.description), by)


def read(
    path: Path, start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
    """Yield each page from `start` to `stop` with its description."""
    with _open(path) as tiff:
        for index in range(start, stop):
            page = _page(tiff, index)
            image = page.asarray()
            if image.ndim != 2:
                raise FileError(
                    f"{path} is a color image: convert it to one value a pixel."
                )
            yield image, page.description


def has_pages(series: Series) -> bool:
    """Return whether a series comes from TIFF files of several pages."""
    return series.kind == NAME and series.num_frames > len(series.files)


def output_files(path: Path, like: Series, selection: Selection) -> list[Path]:
    """Return `path` for one frame or pages of pages, else a numbered file a frame."""
    one = selection.num_frames == 1 or has_pages(like)
    return [path] if one else numbered(path, like.numbers_of(selection))


class TiffSink:
    """Writes one TIFF file a frame, or one file with a page a frame."""

    def __init__(
        self,
        staging: Staging,
        files: list[Path],
        like: Series,
        encoding: Encoding,
        program: str | None,
    ) -> None:
        """Write to `files`; `program` is who denoises, None if nobody does."""
        self._staging = staging
        self._files = iter(files)
        self._like = like
        self._encoding = encoding
        self._program = program
        self._big = len(files) == 1 and like.num_frames * _size(like) > _ADDRESSED
        self._open: tuple[tifffile.TiffWriter, OutputFile] | None = None

    def append(self, stored: Num[np.ndarray, "height width"], frame: Frame) -> None:
        """Write the next frame with the description that came with it."""
        text = frame.header
        if self._like.kind != NAME:
            text = compose_header(self._like, frame)
        text = amend_header(text, self._encoding, None)
        self._next_writer().write(
            stored,
            photometric="minisblack",
            contiguous=False,
            description=text.encode("latin-1", "replace") or None,
            software=self._program or False,
            metadata=None,
        )

    def finish(self, provenance: Provenance | None) -> None:
        """Leave the provenance to the sidecar: the format has no place for it."""

    def close(self) -> None:
        """Close the file that is open, if any."""
        if self._open is not None:
            for each in self._open:
                each.close()
            self._open = None

    def _next_writer(self) -> tifffile.TiffWriter:
        """Return what writes the next frame: a new file, or the last for its pages."""
        path = next(self._files, None)
        if path is not None:
            self.close()
            file = self._staging.open(path)
            # it wants no more than a raw file offers
            writer = tifffile.TiffWriter(cast(IO[bytes], file), bigtiff=self._big)
            self._open = writer, file
        if self._open is None:
            raise ValueError("no file is named for this frame")
        return self._open[0]


def create_sink(
    staging: Staging,
    files: list[Path],
    like: Series,
    selection: Selection,
    encoding: Encoding,
    program: str | None,
) -> TiffSink:
    """Start to write `files`, one a frame, or one with a page a frame."""
    return TiffSink(staging, files, like, encoding, program)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tifffile.TiffFile]:
    # tifffile wants no more of a file than a decompressor offers
    with open_binary(path) as file, tifffile.TiffFile(cast(IO[bytes], file)) as tiff:
        yield tiff


def _page(tiff: tifffile.TiffFile, index: int) -> tifffile.TiffPage:
    """Return a page with its tags."""
    page = tiff.pages[index]
    if not isinstance(page, tifffile.TiffPage):
        raise ValueError(f"page {index} has no tags of its own")
    return page


def _check_chain(tiff: tifffile.TiffFile) -> None:
    """Refuse a file whose last page names another beyond its end: tifffile does not."""
    file, layout = tiff.filehandle, tiff.tiff
    file.seek(tiff.pages[-1].offset)
    (num_tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    file.seek(num_tags * layout.tagsize, 1)
    (offset,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
    if offset >= file.size:
        raise ValueError(f"page {len(tiff.pages)}, counted from 0, lies behind its end")


def _size(like: Series) -> int:
    return like.shape[0] * like.shape[1] * 4
