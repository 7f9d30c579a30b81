"""The datasets in which an HDF5 file keeps its frames, and where each frame lies."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Num

from tvjax.io.hdf5.tree import Address, group_at
from tvjax.io.hdf5.values import read_stored

# The usual order of axes in a dataset of images: frame (or energy), row, column.
FRAMES_FIRST = "EYX"


class FrameDataset(NamedTuple):
    """A dataset of consecutive frames."""

    name: str  # its path in the file that was opened
    images: h5py.Dataset
    num_frames: int
    data_file: Path | None  # the file it is linked from, if not the one opened
    axes: str = FRAMES_FIRST  # or another order of these three
    channel: int | None = None  # which of several images a frame is read
    check: Callable[[int, int], None] | None = None  # refuses damaged images

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is read of the dataset."""
        whole = self.images.shape
        return whole if self.channel is None else (whole[0], *whole[2:])

    def place(self, index: int) -> tuple[int | slice, ...]:
        """Return where frame `index` lies in the dataset."""
        if self.channel is not None:
            return index, self.channel, slice(None), slice(None)
        return place_of_frame(self.images.shape, index, self.axes)

    def read(self, index: int) -> Num[np.ndarray, "height width"]:
        """Return frame `index`."""
        return self._values(self.place(index), index, index + 1)

    def cut(self, frames: slice, rows: slice) -> Num[np.ndarray, "frame height width"]:
        """Return some rows of some frames of a dataset with three axes."""
        parts = {"E": frames, "Y": rows, "X": slice(None)}
        place = tuple(parts[axis] for axis in self.axes)
        part = self._values(place, *frames.indices(self.num_frames)[:2])
        return part.transpose([self.axes.index(axis) for axis in FRAMES_FIRST])

    def _values(
        self, place: tuple[int | slice, ...], start: int, stop: int
    ) -> Num[np.ndarray, "*shape"]:
        """Return what is at a place, of the frames from `start` to `stop`."""
        if self.check is not None and self.axes == FRAMES_FIRST:
            if self.channel is None:
                self.check(start, stop)
            else:  # every frame has an image for each channel
                for index in range(start, stop):
                    position = index * self.images.shape[1] + self.channel
                    self.check(position, position + 1)
        return read_stored(self.images, place)


def place_of_frame(
    shape: tuple[int, ...], index: int, axes: str = FRAMES_FIRST
) -> tuple[int | slice, ...]:
    """Return where frame `index` lies in a dataset of this shape."""
    if axes == FRAMES_FIRST:  # or a raster of frames
        leading = (int(i) for i in np.unravel_index(index, shape[:-2]))
        return (*leading, slice(None), slice(None))
    return tuple(index if axis == "E" else slice(None) for axis in axes)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where an open HDF5 file keeps its frames.

    Attributes:
        path: The file.
        file: The same, open.
        datasets: The datasets of its frames, in their order.
        missing: Paths of those that follow, which are not there.
        owners: Addresses of the groups that hold the images, their detector included.
        apart: Addresses of what belongs to other images of the file.
    """

    path: Path
    file: h5py.File
    datasets: tuple[FrameDataset, ...]
    missing: tuple[str, ...] = ()
    owners: frozenset[Address] = frozenset()
    apart: frozenset[Address] = frozenset()

    @property
    def group(self) -> h5py.Group:
        """The group in which the file names its first images."""
        return group_at(self.file, self.datasets[0].name.rpartition("/")[0] or "/")
