"""Where each frame of an HDF5 dataset is stored, seen through virtual datasets."""

import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from h5py._hl.vds import VDSmap
from jaxtyping import Int

from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.chunk_checks import check_chunks
from tvjax.io.hdf5.opening import open_file
from tvjax.io.hdf5.prefixes import folders, linked_file, Reference
from tvjax.io.hdf5.tree import (
    Address,
    address,
    find_dataset,
    find_item,
    names_in,
    path_of,
)
from tvjax.io.limits import check_images

# File, address in it, and position of a frame: the same for whatever shows it.
Origin = tuple[str, int, int]

# The number of a block in the names of a virtual dataset's sources.
_BLOCK = "%b"


class Source(NamedTuple):
    """A part of a virtual dataset, and the dataset that it is read from."""

    file_name: str  # as the virtual dataset has it
    dataset_name: str
    path: Path | None  # where the file is; None where it is missing
    dataset: h5py.Dataset | None  # None where it is missing
    shown: h5py.h5s.SpaceID  # where the part is shown
    taken: h5py.h5s.SpaceID  # what of the source it is
    block: int | None  # which of the blocks of a source with numbers in its name


def sources(images: h5py.Dataset) -> Iterator[Source]:
    """Yield the parts of a virtual dataset; a name with numbers once for each."""
    found: dict[tuple[str, str], tuple[Path | None, h5py.Dataset | None]] = {}
    holder = Path(images.file.filename)
    for part in images.virtual_sources():
        numbered = _BLOCK in part.file_name + part.dset_name
        for block in _blocks(images, holder, part) if numbered else [None]:
            names = (_with(part.file_name, block), _with(part.dset_name, block))
            if names not in found:
                found[names] = _open(images, holder, *names)
            path, dataset = found[names]
            yield Source(*names, path, dataset, part.vspace, part.src_space, block)


def stored_in(images: h5py.Dataset) -> Iterator[h5py.Dataset]:
    """Yield a dataset, and all that it is read from where it is virtual."""
    seen: set[Address] = set()
    pending = [images]
    while pending:
        item = pending.pop()
        if address(item) not in seen:
            seen.add(address(item))
            yield item
            if item.is_virtual:
                pending += [s.dataset for s in sources(item) if s.dataset is not None]


def origins(images: h5py.Dataset) -> list[Origin]:
    """Return where each frame is stored.

    A frame that is no whole frame of another dataset is its own origin.
    """
    return _origins(images, frozenset())


def frame_check(images: h5py.Dataset) -> Callable[[int, int], None] | None:
    """Return what refuses damage in what frames from one to another are stored in.

    None where that is the dataset itself.
    """
    if not images.is_virtual:
        return None
    stored = {address(item): item for item in stored_in(images) if not item.is_virtual}
    places = origins(images)

    def check(start: int, stop: int) -> None:
        for file, place, index in places[start:stop]:
            item = stored.get((file, place))
            if item is None:  # parts of other frames, or of a frame that is not there
                for each in stored.values():
                    check_chunks(each)
                return
            leading = np.unravel_index(index, item.shape[:-2])
            with reading(Path(file)):
                check_chunks(item, tuple(int(each) for each in leading))

    return check


def check_sources(path: Path, images: h5py.Dataset) -> None:
    """Raise `FileError` where a virtual dataset is read from what is not there.

    HDF5 fills what it does not find with zeros, without a word.
    """
    _check_sources(path, images, frozenset())


def _origins(images: h5py.Dataset, above: frozenset[Address]) -> list[Origin]:
    own = address(images)
    check_images(
        Path(images.file.filename),
        f" at {path_of(images)}",
        _num_frames(images),
        images.shape[-2:],
    )
    found = [(*own, index) for index in range(_num_frames(images))]
    if not images.is_virtual or own in above:
        return found
    stored: dict[Address, list[Origin]] = {}
    for source in sources(images):
        origin = source.dataset
        if origin is None or len(origin.shape) < 2:
            continue
        if origin.shape[-2:] != images.shape[-2:]:
            continue
        new = _frames(source.shown, images.shape, source.block)
        old = _frames(source.taken, origin.shape, None)
        if new is None or old is None or len(new) != len(old):
            continue
        place = address(origin)
        if place not in stored:
            stored[place] = _origins(origin, above | {own})
        for index, taken in zip(new, old, strict=True):
            if index < len(found) and taken < len(stored[place]):
                found[index] = stored[place][taken]
    return found


def _check_sources(path: Path, images: h5py.Dataset, above: frozenset[Address]) -> None:
    above |= {address(images)}
    checked: set[Address] = set()
    for source in sources(images):
        if source.path is None:
            raise FileError(
                f"{path} keeps its images in {source.file_name}, which is missing: "
                f"copy it to {Path(images.file.filename).resolve().parent}."
            )
        if source.dataset is None:
            raise FileError(
                f"{source.path} lacks the images {source.dataset_name} that {path} "
                "expects in it: copy it again from its source."
            )
        if address(source.dataset) in above:
            raise FileError(
                f"{path} has virtual images that show themselves, at "
                f"{source.dataset_name}: choose others with --dataset."
            )
        if not _holds(source.dataset, source):
            raise FileError(
                f"{source.path} has images of {source.dataset.shape} at "
                f"{source.dataset_name}, less than {path} shows of them: "
                "copy it again from its source."
            )
        if source.dataset.is_virtual and address(source.dataset) not in checked:
            checked.add(address(source.dataset))
            _check_sources(path, source.dataset, above)


def _num_frames(images: h5py.Dataset) -> int:
    return math.prod(images.shape[:-2])


def _open(
    images: h5py.Dataset, holder: Path, file_name: str, dataset_name: str
) -> tuple[Path | None, h5py.Dataset | None]:
    if file_name == ".":
        return holder, find_dataset(images.file, dataset_name)
    path = linked_file(holder, file_name, Reference.VIRTUAL)
    if path is None:
        return None, None
    with reading(path):
        file = open_file(path, swmr=images.file.swmr_mode)
        return path, find_dataset(file, dataset_name)


def _with(name: str, block: int | None) -> str:
    return name if block is None else name.replace(_BLOCK, str(block))


def _blocks(images: h5py.Dataset, holder: Path, part: VDSmap) -> range:
    """Return the numbers of the blocks that are shown, or should be.

    HDF5 ends what it shows before the first block that is missing.
    """
    start, stride, count, _ = part.vspace.get_regular_hyperslab()
    axis = count.index(h5py.h5s.UNLIMITED)
    shown = -(-max(0, images.shape[axis] - start[axis]) // stride[axis])
    if _BLOCK in part.file_name:
        places = [
            (folder / part.file_name).parent
            for folder in folders(holder, Reference.VIRTUAL)
        ]
        names = [name for each in places if each.is_dir() for name in os.listdir(each)]
        pattern = Path(part.file_name).name
    else:
        path, _ = _open(images, holder, part.file_name, part.dset_name)
        names, pattern = [], Path(part.dset_name).name
        if path is not None:
            swmr = images.file.swmr_mode
            with reading(path), open_file(path, swmr=swmr) as file:
                group = find_item(file, str(Path(part.dset_name).parent))
                names = names_in(group) if isinstance(group, h5py.Group) else []
    number = re.compile(r"(\d+)".join(map(re.escape, pattern.split(_BLOCK, 1))) + "$")
    there = [int(found[1]) for name in names if (found := number.match(name))]
    return range(max(shown, 1, *(n + 1 for n in there)))


def _frames(
    space: h5py.h5s.SpaceID, shape: tuple[int, ...], block: int | None
) -> Int[np.ndarray, " frame"] | None:
    """Return the frames that a selection takes whole, None if it takes parts of some.

    Args:
        space: The selection.
        shape: The shape of what is selected from.
        block: Which of an unlimited number of blocks is meant; None for all.
    """
    leading = shape[:-2]
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return np.arange(np.prod(leading, dtype=np.int64))
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS:
        return None
    if len(space.shape) != len(shape):
        return None
    if space.is_regular_hyperslab():
        slabs = zip(*space.get_regular_hyperslab(), shape, strict=True)
        axes = [
            _along(start, stride, count, length, size, block)
            for start, stride, count, length, size in slabs
        ]
        boxes = [axes]
    else:
        boxes = [
            [
                np.arange(int(low), int(high) + 1)
                for low, high in zip(first, last, strict=True)
            ]
            for first, last in space.get_select_hyper_blocklist()
        ]
    found = []
    for *outer, rows, columns in boxes:
        if (len(rows), len(columns)) != shape[-2:]:
            return None
        if any(len(a) and a[-1] >= n for a, n in zip(outer, leading, strict=True)):
            return None
        grid = np.meshgrid(*outer, indexing="ij")
        flat = np.ravel_multi_index(grid, leading) if leading else np.zeros(1, int)
        found.append(np.ravel(flat))
    return np.sort(np.concatenate(found))


def _along(
    start: int, stride: int, count: int, length: int, size: int, block: int | None
) -> Int[np.ndarray, " position"]:
    """Return the positions that a regular selection takes along one axis."""
    if count == h5py.h5s.UNLIMITED:
        if block is not None:
            return start + block * stride + np.arange(length)
        count = -(-max(0, size - start) // stride)
    if length == h5py.h5s.UNLIMITED:
        length = max(0, size - start)
    return np.ravel(start + stride * np.arange(count)[:, None] + np.arange(length))


def _holds(images: h5py.Dataset, source: Source) -> bool:
    """Return whether a dataset has all that a part is read from."""
    taken = source.taken
    if taken.get_select_type() == h5py.h5s.SEL_ALL:
        # whose shape is not kept
        shown = source.shown
        return _unlimited(shown) or images.size == shown.get_select_npoints()
    if _unlimited(taken):
        return True
    last = taken.get_select_bounds()[1]
    return len(last) == len(images.shape) and all(
        size > end for size, end in zip(images.shape, last, strict=True)
    )


def _unlimited(space: h5py.h5s.SpaceID) -> bool:
    """Return whether a selection grows with what it selects from."""
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS:
        return False
    if not space.is_regular_hyperslab():
        return False
    _, _, count, length = space.get_regular_hyperslab()
    return h5py.h5s.UNLIMITED in (*count, *length)
