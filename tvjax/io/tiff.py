"""TIFF images, MarCCD's among them, read and written."""

import contextlib
import functools
import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import cast, IO, NamedTuple

import numpy as np
import tifffile
from jaxtyping import Num, Shaped

from tvjax.io.compressed import open_binary
from tvjax.io.dectris_header import amend_header, compose_header, parse_header
from tvjax.io.encoding import Encoding
from tvjax.io.errors import FileError
from tvjax.io.file_names import numbered
from tvjax.io.limits import check_images
from tvjax.io.ome import find_planes, other_files
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

# Descriptions that tell how many images a file has: of ImageJ and tifffile; that of
# OME, which also tells where each is; and that of tifffile which says that they lie
# one behind the other without pages.
_TELLS_IMAGES = re.compile(r'^ImageJ=|^\{"shape"')
_OME = re.compile(r"<OME\b")
_BEHIND = '"truncated"'


class _Images(NamedTuple):
    """The images of a file, without those that are copies or masks of others.

    Attributes:
        pages: The page of each image, or the only page, which the others lie behind.
        behind: Number of images that lie behind the first without a page of their own.
    """

    pages: tuple[int, ...]
    behind: int = 0
    files: tuple[str, ...] = ()  # that have images of the same set, this one included

    @property
    def num_frames(self) -> int:
        return len(self.pages) + self.behind


def describe(path: Path) -> Description:
    """Return the number of images and the metadata in the first one's description."""
    images = _images(path)
    with _open(path) as tiff:
        page = _page(tiff, images.pages[0])
        by = page.software if page.software.startswith(f"{PROGRAM} ") else None
        known = parse_header(page.description)
        return Description(images.num_frames, known, by, files=images.files)


def read(
    path: Path, start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
    """Yield each image from `start` to `stop` with its description."""
    images = _images(path)
    with _open(path) as tiff:
        for index in range(start, stop):
            if images.behind:
                page = _page(tiff, images.pages[0])
                yield _behind(tiff, page, index), "" if index else page.description
            else:
                page = _page(tiff, images.pages[index])
                yield _decoded(path, page), page.description


def has_pages(series: Series) -> bool:
    """Return whether a series comes from TIFF files of several pages."""
    return series.kind == NAME and series.num_frames > len(series.files)


def output_files(path: Path, like: Series, selection: Selection) -> list[Path]:
    """Return `path` for one frame or pages of pages, else a numbered file a frame."""
    single = selection.num_frames == 1 and "#" not in path.name
    one = single or has_pages(like)
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
        complete: bool,
    ) -> None:
        """Write to `files`.

        Args:
            staging: Where files are opened.
            files: One a frame, or one for all.
            like: The input.
            encoding: How values are stored.
            program: Who denoises, None if nobody does.
            complete: Whether all frames of the input come.
        """
        self._complete = complete
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
        elif _BEHIND in text or _OME.search(text):
            text = ""  # it tells where images are, and their type, as in the input
        elif _TELLS_IMAGES.search(text) and not self._complete:
            text = ""  # it tells of images that do not come
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
    complete = not selection.partial
    return TiffSink(staging, files, like, encoding, program, complete)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tifffile.TiffFile]:
    # tifffile wants no more of a file than a decompressor offers
    with open_binary(path) as file, tifffile.TiffFile(cast(IO[bytes], file)) as tiff:
        yield tiff


def _images(path: Path) -> _Images:
    """Return where the images of a file are."""
    found = path.stat()
    return _find_images(path, found.st_mtime_ns, found.st_size)


# Each look at a file of many pages goes through all of them.
@functools.lru_cache(maxsize=16)
def _find_images(path: Path, changed: int, size: int) -> _Images:
    """Return where the images of a file are, of which time and size are as given."""
    with _open(path) as tiff:
        every = range(len(tiff.pages))
        _check_chain(tiff)
        pages = [_page(tiff, index) for index in every]
        kept = [n for n in every if not (pages[n].is_reduced or pages[n].is_mask)]
        kept = kept or list(every)
        kinds = {(pages[n].shape, pages[n].dtype) for n in kept}
        if len(kinds) > 1:
            raise FileError(
                f"{path} has pages of several sizes or types, "
                + ", ".join(sorted(f"{shape} {dtype}" for shape, dtype in kinds))
                + ": write those of one kind to a file of their own."
            )
        if tiff.is_ome:
            return _in_order(path, pages[0].description, kept)
        told = _num_told(tiff, pages[kept[0]])
        behind = told - len(kept)
        if behind <= 0:
            return _Images(tuple(kept))
        page = pages[kept[0]]
        if len(pages) > 1 or not page.is_contiguous or page.ndim != 2:
            held = len(kept)
        else:
            held = (tiff.filehandle.size - page.dataoffsets[0]) // page.nbytes
        if held < told:
            raise FileError(
                f"{path} tells of {told} images in its description and "
                f"holds {held}: copy it again from its source, or write the images "
                "anew without the description."
            )
        return _Images(tuple(kept), behind)


def _in_order(path: Path, description: str, kept: list[int]) -> _Images:
    """Return the images of an OME-TIFF in the order that its description tells."""
    planes = find_planes(description)
    others = other_files(planes)
    own = [plane.page for plane in planes if not plane.file]
    if not others:
        if len(own) > len(kept) or not {*own} <= {*kept}:
            raise FileError(
                f"{path} tells of {len(own)} images in its description and holds "
                f"{len(kept)}: copy it again from its source, or write the images anew "
                "without the description."
            )
        return _Images(tuple(own if len(own) == len(kept) else kept))
    names = [plane.file or path.name for plane in planes]
    files = tuple(dict.fromkeys(names))
    behind = sorted(planes, key=lambda p: (files.index(p.file or path.name), p.page))
    if behind != planes:
        raise FileError(
            f"{path} has images in several files, {', '.join(files)}, and in another "
            "order than they lie in these: write them to one file first."
        )
    return _Images(tuple(own if own else kept), files=files)


def _num_told(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> int:
    """Return how many images a file has by what its writer says in a description."""
    numbers = [1]
    if tiff.is_imagej and tiff.imagej_metadata:
        numbers.append(int(tiff.imagej_metadata.get("images", 1)))
    elif tiff.is_shaped and tiff.shaped_metadata:
        values = sum(math.prod(each["shape"]) for each in tiff.shaped_metadata)
        numbers.append(values // page.size)
    elif tiff.is_stk or tiff.is_scanimage:
        numbers += [each.size // page.size for each in tiff.series if each.is_truncated]
    return max(numbers)


def _behind(
    tiff: tifffile.TiffFile, page: tifffile.TiffPage, index: int
) -> Num[np.ndarray, "height width"]:
    """Return the image that is the number `index` behind the first."""
    tiff.filehandle.seek(page.dataoffsets[0] + index * page.nbytes)
    content = tiff.filehandle.read(page.nbytes)
    dtype = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
    image = np.frombuffer(content, dtype).reshape(page.shape)
    return image.astype(dtype.newbyteorder("="))


def _decoded(path: Path, page: tifffile.TiffPage) -> Shaped[np.ndarray, "..."]:
    """Return the image of a page, which has one value a pixel."""
    check_images(path, "", 1, page.shape[:2])
    held = sum(page.databytecounts)
    # zlib packs bytes of one value a thousandfold, and nothing does more
    if not held or page.nbytes > 1100 * held or held > 2 * page.nbytes + 2**16:
        raise ValueError(f"{held} bytes cannot hold an image of {page.shape}")
    try:
        image = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        codec = tifffile.COMPRESSION(page.compression).name
        raise FileError(
            f"{path} is compressed with {codec}, which needs one more package: run "
            "pip install imagecodecs, or write it without compression."
        ) from error
    if page.samplesperpixel > 1:
        raise FileError(f"{path} is a color image: convert it to one value a pixel.")
    if image.ndim != 2:
        raise FileError(
            f"{path} has pages of {image.ndim} axes: write one image a page."
        )
    return image


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
