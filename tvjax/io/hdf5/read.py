"""Where does an HDF5 file keep its frames, and how are they read?"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import hdf5plugin  # noqa: F401  registers the decompressors
import numpy as np
from jaxtyping import Bool, Num

from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.datasets import check_readable, find_images
from tvjax.io.hdf5.metadata import read_metadata
from tvjax.io.hdf5.tree import text, walk
from tvjax.io.invalid_values import Marks
from tvjax.io.series import Series

SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs")
DENOISED_BY = "denoised_by"
"""Attribute of an image dataset that names the program that denoised it."""

FRAMES_FIRST = "EYX"
"""Axes of an image dataset: frames (or energies), rows, columns."""

READ_AT_ONCE = 2**26
"""Bytes read for several frames that lie side by side in a file."""


class Block(NamedTuple):
    """A dataset of consecutive frames."""

    name: str  # its path in the file that was opened
    images: h5py.Dataset
    num_frames: int
    data_file: Path | None  # the file it is linked from, if not the one opened
    axes: str = FRAMES_FIRST  # or another order of these three

    def place(self, index: int) -> tuple[int | slice, ...]:
        """Return where frame `index` lies in the dataset."""
        return place(self.images.shape, index, self.axes)

    def cut(self, frames: slice, rows: slice) -> Num[np.ndarray, "frame height width"]:
        """Return some rows of some frames of a dataset with three axes."""
        parts = {"E": frames, "Y": rows, "X": slice(None)}
        part = self.images[tuple(parts[axis] for axis in self.axes)]
        return part.transpose([self.axes.index(axis) for axis in FRAMES_FIRST])


def place(
    shape: tuple[int, ...], index: int, axes: str = FRAMES_FIRST
) -> tuple[int | slice, ...]:
    """Return where frame `index` lies in a dataset of this shape."""
    if axes == FRAMES_FIRST:  # or a raster of frames
        return (*np.unravel_index(index, shape[:-2]), slice(None), slice(None))
    return tuple(index if axis == "E" else slice(None) for axis in axes)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where an open HDF5 file keeps its frames."""

    path: Path
    file: h5py.File
    blocks: tuple[Block, ...]


def open_hdf5(path: Path, dataset: str | None = None) -> Series:
    """Open an HDF5 file as a series.

    Args:
        path: A master with links, a data file, or any file with a stack of images.
        dataset: Path of the images in the file, where there are several stacks.

    Raises:
        FileError: The file is damaged or incomplete, or holds no images, or several.
    """
    with reading(path):
        file = h5py.File(path, "r")
    try:
        return _series(path, file, dataset)
    except BaseException:
        file.close()
        raise


def arrange(series: Series, axes: str) -> Series:
    """Return the series with the axes of its only dataset in the order `axes`.

    Frames that do not come first are read several at a time, as each is spread over
    the whole dataset.

    Raises:
        FileError: The frames are not in one dataset of three axes.
    """
    path, blocks = series.layout.path, series.layout.blocks
    images = blocks[0].images
    if len(blocks) > 1 or images.ndim != 3:
        raise FileError(
            f"{path} has its frames in {len(blocks)} datasets of {images.ndim} axes: "
            "`axes` needs one of three; choose it with --dataset."
        )
    sizes = dict(zip(axes, images.shape, strict=True))
    block = blocks[0]._replace(num_frames=sizes["E"], axes=axes)
    shape = sizes["Y"], sizes["X"]
    frame_size = shape[0] * shape[1] * images.dtype.itemsize
    step = max(1, READ_AT_ONCE // frame_size)

    def read(
        start: int, stop: int
    ) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
        for first in range(start, stop, step):
            with reading(path):
                part = block.cut(slice(first, min(first + step, stop)), slice(None))
            yield from ((frame, "") for frame in part)

    return dataclasses.replace(
        series,
        num_frames=sizes["E"],
        shape=shape,
        read=read,
        mask=_declared_mask(path, series.layout.file, shape),
        marks=Marks.of(next(read(0, 1))[0]),
        layout=dataclasses.replace(series.layout, blocks=(block,)),
    )


def read_pixel_mask(path: Path) -> Num[np.ndarray, "height width"]:
    """Return the pixel mask of an HDF5 file, or its one image where it has none."""
    with reading(path), h5py.File(path, "r") as file:
        for name, item in walk(file):
            if name.endswith("/pixel_mask") and isinstance(item, h5py.Dataset):
                return _plane(item)
        return _plane(find_images(path, file, None)[0][1])


def _series(path: Path, file: h5py.File, dataset: str | None) -> Series:
    blocks = []
    for name, images in find_images(path, file, dataset):
        check_readable(path, images)
        holder = Path(images.file.filename)
        data_file = None if images.file == file else holder
        blocks.append(Block(name, images, math.prod(images.shape[:-2]), data_file))
    kinds = {(block.images.shape[-2:], block.images.dtype) for block in blocks}
    if len(kinds) > 1:
        raise FileError(
            f"{path} mixes frames of different shapes or types ("
            + ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds, key=str))
            + "): split it, or choose a part with --dataset."
        )
    ((shape, dtype),) = kinds
    holders = {block.images.file for block in blocks}
    read = functools.partial(_read, path, tuple(blocks))
    mask = _declared_mask(path, file, shape)
    by = {text(block.images.attrs.get(DENOISED_BY, "")) for block in blocks} - {""}

    def close() -> None:
        for holder in (*holders, file):
            holder.close()

    return Series(
        num_frames=sum(block.num_frames for block in blocks),
        shape=shape,
        dtype=dtype,
        read=read,
        mask=mask,
        marks=Marks.of(next(read(0, 1))[0]),
        metadata=read_metadata(file),
        names=(str(path),),
        files=(path, *(block.data_file for block in blocks if block.data_file)),
        kind="HDF5",
        denoised_by=by.pop() if by else None,
        layout=Layout(path, file, tuple(blocks)),
        close=close,
    )


def _read(
    path: Path, blocks: tuple[Block, ...], start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
    for block in blocks:
        for index in range(max(start, 0), min(stop, block.num_frames)):
            with reading(block.data_file or path):
                image = block.images[block.place(index)]
            yield image, ""
        start -= block.num_frames
        stop -= block.num_frames


def _declared_mask(
    path: Path, file: h5py.File, shape: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    mask = np.ones(shape, bool)
    for name, item in walk(file):
        if name.endswith("/pixel_mask") and isinstance(item, h5py.Dataset):
            if item.shape[-2:] == shape:
                with reading(path):
                    mask &= _plane(item) == 0
    if not mask.any():
        raise FileError(
            f"{path} declares every pixel invalid in its pixel_mask: "
            "correct the mask, zero is a valid pixel."
        )
    return mask


def _plane(item: h5py.Dataset) -> Num[np.ndarray, "height width"]:
    """Return the only plane of a dataset, or the first of several."""
    return item[(0,) * (item.ndim - 2)]
