"""What an HDF5 output shows beside the values of its frames, against its input."""

import math
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Num, Shaped

from tvjax.io.errors import FileError
from tvjax.io.hdf5.corrections import CORRECTIONS
from tvjax.io.hdf5.datasets import find_images
from tvjax.io.hdf5.layout import FRAMES_FIRST, Layout
from tvjax.io.hdf5.masks import find_masks
from tvjax.io.hdf5.opening import open_file
from tvjax.io.hdf5.origins import Origin, origins
from tvjax.io.hdf5.ownership import find_ownership
from tvjax.io.hdf5.slots import Slot
from tvjax.io.hdf5.tree import address, dataset_at, find_dataset, walk_datasets
from tvjax.io.hdf5.values import read_values
from tvjax.io.series import Selection, Series

# Values a frame that an array beside the images may have, such as the positions of all
# motors; what has more is no list of numbers by frame.
_VALUES = 64


def chosen_images(layout: Layout) -> str | None:
    """Return the path of the images in a file, None where it shows them by itself."""
    names = [each.name for each in layout.datasets]
    try:
        found = find_images(
            layout.path, layout.file, None, partial=bool(layout.missing)
        )
    except FileError:
        pass  # it has several
    else:
        if [name for name, _ in found.parts] == names:
            return None
    return names[0] if len(names) == 1 else names[0].rpartition("/")[0] or "/"


def order_differs(
    opened: Layout, slots: tuple[Slot, ...], files: dict[Path | None, Path]
) -> Iterator[str]:
    """Yield a clause if an output does not show every frame where it was written.

    Args:
        opened: The output as it shows its frames.
        slots: Where the frames were written, in their order.
        files: The files of the output by those of the slots.
    """
    if any(each.axes != FRAMES_FIRST for each in opened.datasets):
        return
    shown = [origin for each in opened.datasets for origin in origins(each.images)]
    written: list[Origin] = []
    for slot in slots:
        with open_file(files[slot.data_file]) as file:
            place = address(dataset_at(file, slot.place))
        written += [(*place, index) for index in range(slot.num_frames)]
    for index, (one, other) in enumerate(zip(shown, written, strict=False)):
        if one != other:
            yield f"frame {index} is shown from another place than it was written to"
            return


def masks_differ(
    opened: Series, like: Series, selection: Selection, sample: list[int]
) -> Iterator[str]:
    """Yield a clause if a copy has another mask than the file that it is a copy of.

    Args:
        opened: The copy.
        like: The input, perhaps with a mask by hand beside its own.
        selection: The frames that are kept.
        sample: Positions in the copy of the frames to compare.
    """
    layout = like.layout
    if layout is None:
        return
    ownership = find_ownership(layout.file, layout.datasets)
    own = find_masks(layout.path, layout.file, layout.datasets, like.shape, ownership)
    for index in sample:
        before, after = own.valid, opened.mask
        if own.of_frame is not None:
            before = before & own.of_frame(selection.start + index)
        if opened.mask_of_frame is not None:
            after = after & opened.mask_of_frame(index)
        if not np.array_equal(before, after):
            yield mask_differs(before, after, f"frame {index}")
            return


def mask_differs(
    before: Bool[np.ndarray, "height width"],
    after: Bool[np.ndarray, "height width"],
    name: str,
) -> str:
    """Return the clause for masks that differ."""
    wanted, found = (np.count_nonzero(~mask) for mask in (before, after))
    return (
        f"the mask of {name} has {found} invalid pixels in place of {wanted}, or others"
    )


def arrays_differ(
    opened: h5py.File, source: h5py.File, selection: Selection
) -> Iterator[str]:
    """Yield a clause for each list of numbers by frame that a copy does not keep.

    It has all numbers of its source, or those of the frames that are kept.

    Args:
        opened: The copy.
        source: The file that it is a copy of.
        selection: The frames that are kept.
    """
    for name, item in walk_datasets(source):
        if not _is_by_frame(item, selection.total):
            continue
        if name.rpartition("/")[2] in CORRECTIONS:
            continue
        copied = find_dataset(opened, name)
        if copied is None:
            yield f"{name} is missing"
            continue
        values, kept = read_values(item), read_values(copied)
        part = values[selection.start : selection.stop]
        if not (_alike(kept, values) or _alike(kept, part)):
            yield f"{name} has other values than in the input"


def numbers_differ(
    opened: h5py.File, name: str, expected: Num[np.ndarray, "..."]
) -> Iterator[str]:
    """Yield a clause if a new file lacks numbers that it should have."""
    item = find_dataset(opened, name)
    if item is None:
        yield f"{name} is missing"
    elif not _alike(read_values(item), expected):
        yield f"{name} has other values than it should"


def _is_by_frame(item: h5py.Dataset, total: int) -> bool:
    """Return whether a dataset may be a list of numbers by frame."""
    shape = item.shape or ()
    return (
        len(shape) in (1, 2)
        and shape[:1] == (total,)
        and math.prod(shape) <= _VALUES * total
        and item.dtype.kind in "uifb"
    )


def _alike(one: Shaped[np.ndarray, "..."], other: Shaped[np.ndarray, "..."]) -> bool:
    """Return whether two arrays have the same shape and values, NaN included."""
    return one.shape == other.shape and bool(
        np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    )
