"""How are TIFF images read and written, MarCCD's among them?"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Num

from tvjax.io import dectris_header as header
from tvjax.io.compressed import open_binary
from tvjax.io.encoding import Encoding
from tvjax.io.errors import FileError
from tvjax.io.provenance import Provenance
from tvjax.io.series import Description, Frame, Series
from tvjax.io.staging import OutputFile, Staging

_ADDRESSED = 2**32 - 2**25  # bytes within reach of an ordinary TIFF, less its tags
MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def describe(path: Path) -> Description:
    """Return the number of pages and what the first one's description tells."""
    with open_binary(path) as file, tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        by = page.software if page.software.startswith("tvjax ") else None
        _check_chain(tiff)
        return Description(len(tiff.pages), header.parse(page.description), by)


def read(
    path: Path, start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
    """Yield each page from `start` to `stop` with its description."""
    with open_binary(path) as file, tifffile.TiffFile(file) as tiff:
        for page in tiff.pages[start:stop]:
            image = page.asarray()
            if image.ndim != 2:
                raise FileError(
                    f"{path} is a color image: convert it to one value a pixel."
                )
            yield image, page.description


class TiffSink:
    """Writes one TIFF file a frame, or one file with a page a frame."""

    def __init__(
        self,
        staging: Staging,
        paths: list[Path],
        like: Series,
        encoding: Encoding,
        program: str | None,
    ):
        """Write to `paths`; `program` is who denoises, None if nobody does."""
        self._staging = staging
        self._paths = iter(paths)
        self._like = like
        self._encoding = encoding
        self._program = program
        self._big = len(paths) == 1 and like.num_frames * _size(like) > _ADDRESSED
        self._writer: tifffile.TiffWriter | None = None
        self._file: OutputFile | None = None

    def append(self, stored: Num[np.ndarray, "height width"], frame: Frame) -> None:
        """Write the next frame with the description that came with it."""
        path = next(self._paths, None)
        if path is not None:
            self.close()
            self._file = self._staging.open(path)
            self._writer = tifffile.TiffWriter(self._file, bigtiff=self._big)
        text = frame.header
        if self._like.kind != "tiff":
            text = header.compose(self._like.metadata, frame.index)
        text = header.amend(text, self._encoding, None)
        self._writer.write(
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
        if self._writer is not None:
            self._writer.close()
            self._file.close()
            self._writer = self._file = None


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
