"""HDF5 files that a detector is still writing: which frames have come, of how many."""

import itertools
import math
from collections.abc import Sequence

import h5py
import numpy as np

from tvjax.io.hdf5.layout import FrameDataset, Layout
from tvjax.io.hdf5.origins import origins, stored_in
from tvjax.io.hdf5.tree import address, walk_datasets
from tvjax.io.hdf5.values import read_values

# Version of a file's first block from which it tells of writers, and the bits that do.
_MARKED, _WRITING = 3, 0b101


def announced_frames(file: h5py.File) -> int:
    """Return how many frames a file says that a scan has; 0 where it says nothing."""
    counts = {"nimages": 0, "ntrigger": 1}
    for name, item in walk_datasets(file):
        own = name.rpartition("/")[2]
        if own in counts and item.size == 1 and item.dtype.kind in "ui":
            counts[own] = int(np.ravel(read_values(item))[0])
    return counts["nimages"] * counts["ntrigger"]


def expected_frames(layout: Layout) -> int | None:
    """Return with how many frames a scan is complete; None where nothing tells.

    A dataset that cannot grow has room for all of them.
    """
    announced = announced_frames(layout.file)
    if announced:
        return announced
    only = layout.datasets[0]
    alone = len(layout.datasets) == 1 and only.data_file is None
    if not alone or only.images.is_virtual or _can_grow(only.images):
        return None
    return only.num_frames


def _can_grow(images: h5py.Dataset) -> bool:
    return any(size is None for size in images.maxshape or ())


def written_frames(datasets: Sequence[FrameDataset], *, settled: bool) -> int:
    """Return how many frames are on the disk, from the first on without a gap.

    A writer makes room for frames before it writes them, and HDF5 shows zeros there.

    Args:
        datasets: Where the frames lie.
        settled: Whether nothing was written of late. Else the last of the chunks that
            hold several frames is still being filled.
    """
    total = 0
    for each in datasets:
        written = _written(each, settled)
        total += written
        if written < each.num_frames:
            break
    return total


def _written(part: FrameDataset, settled: bool) -> int:
    """Return the number of leading frames of one dataset that are written."""
    images = part.images
    if images.is_virtual:
        return _shown(part, settled)
    if images.chunks is None:
        # room that is made at once, which only a writer that is done lets others see
        return part.num_frames
    together = math.prod(images.chunks[: len(images.shape) - 2])
    found = 0
    while found < part.num_frames and _is_stored(part, found):
        found += 1
    if together > 1 and not (settled or _is_closed(images.file)):
        found = max(0, -(-found // together) - 1) * together
    return found


def _is_stored(part: FrameDataset, index: int) -> bool:
    """Return whether all chunks of a frame are on the disk."""
    images = part.images
    sizes = zip(part.place(index), images.shape, images.chunks or (), strict=True)
    corners = (
        range(0, size, chunk) if isinstance(place, slice) else [place - place % chunk]
        for place, size, chunk in sizes
    )
    return all(
        images.id.get_chunk_info_by_coord(corner).byte_offset is not None
        for corner in itertools.product(*corners)
    )


def _is_closed(file: h5py.File) -> bool:
    """Return whether nobody writes a file, by the marks of a writer in its first bytes.

    Files of the older versions have no such marks, and cannot be read meanwhile.
    """
    with open(file.filename, "rb") as content:
        content.seek(file.userblock_size)
        start = content.read(12)
    return start[8] < _MARKED or not start[11] & _WRITING


def _shown(part: FrameDataset, settled: bool) -> int:
    """Return the number of leading frames that a virtual dataset shows."""
    written = {}
    for each in stored_in(part.images):
        if not each.is_virtual:
            count = math.prod(each.shape[:-2])
            plain = FrameDataset("", each, count, None)
            written[address(each)] = _written(plain, settled)
    least = min(written.values(), default=0)
    for index, (file, place, position) in enumerate(origins(part.images)):
        # a frame put together from several is there when all of them are
        if position >= written.get((file, place), least):
            return index
    return part.num_frames
