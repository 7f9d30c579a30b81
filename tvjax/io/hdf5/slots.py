"""The datasets that the images of an output go to, and their files."""

import math
from pathlib import Path
from typing import NamedTuple

import h5py
import hdf5plugin

from tvjax.io.encoding import Encoding
from tvjax.io.errors import FileError
from tvjax.io.hdf5.layout import FrameDataset, FRAMES_FIRST, Layout, place_of_frame
from tvjax.io.hdf5.references import copy_attributes
from tvjax.io.hdf5.tree import place_of
from tvjax.io.series import Selection


class Slot(NamedTuple):
    """A dataset to be filled with consecutive frames."""

    name: str  # its path in the master
    place: str  # its path in the file that holds it
    num_frames: int
    data_file: Path | None  # the file that holds it, None for the master itself
    like: FrameDataset | None  # the dataset whose place it takes


def plan(layout: Layout, output: Path, selection: Selection) -> tuple[Slot, ...]:
    """Return the slots for the selected frames, split as the input splits them.

    The first slots' names serve, so that a selection is numbered without a break. A
    data file keeps its name, save that it starts with the master's if it did before.

    Raises:
        FileError: Data files would get one name, or frames have an axis of their own.
    """
    lengths = []
    first = 0
    for each in layout.datasets:
        if selection.partial and math.prod(each.shape[1:-2]) > 1:
            raise FileError(
                f"{layout.path} has images of {each.shape} at {each.name}, of "
                "which no range of frames can be kept: denoise all, without --frames."
            )
        last = first + each.num_frames
        lengths.append(min(selection.stop, last) - max(selection.start, first))
        first = last
    lengths = [length for length in lengths if length > 0]
    files = _data_files(layout, output)
    return tuple(
        Slot(
            each.name,
            place_of(each.images) if each.data_file else each.name,
            length,
            files[each.data_file] if each.data_file else None,
            each,
        )
        for each, length in zip(layout.datasets, lengths, strict=False)
    )


def prefix(master: Path) -> str:
    """Return the part of a master's name that its data files start with."""
    return master.stem.removesuffix("_master")


def create_images(
    group: h5py.Group, name: str, slot: Slot, shape: tuple[int, int], encoding: Encoding
) -> h5py.Dataset:
    """Create the empty dataset of a slot: one frame a chunk, bitshuffle and LZ4."""
    whole, axes = (slot.num_frames, *shape), FRAMES_FIRST
    if slot.like and slot.like.num_frames == slot.num_frames:
        whole, axes = slot.like.shape, slot.like.axes
    elif slot.like and len(slot.like.shape) > 3:
        whole = (slot.num_frames, *slot.like.shape[1:])
    frame = zip(whole, place_of_frame(whole, 0, axes), strict=True)
    images = group.create_dataset(
        name,
        whole,
        encoding.dtype,
        chunks=tuple(n if isinstance(part, slice) else 1 for n, part in frame),
        **hdf5plugin.Bitshuffle(cname="lz4"),
    )
    if slot.like:
        copy_attributes(slot.like.images, images)
    return images


def _data_files(layout: Layout, output: Path) -> dict[Path, Path]:
    """Return the data files of the output by those of the input.

    They lie beside the master, or in folders beside it where two have one name.
    """
    found = list(dict.fromkeys(d.data_file for d in layout.datasets if d.data_file))
    beside = [_renamed(each, layout.path, output) for each in found]
    taken = [output, *beside]
    files = {
        each: new if taken.count(new) == 1 else new.parent / each.parent.name / new.name
        for each, new in zip(found, beside, strict=True)
    }
    if len({output, *files.values()}) < len(files) + 1:
        names = ", ".join(str(each) for each in found)
        raise FileError(
            f"{layout.path} has data files of one name, {names}: rename them, or "
            "denoise them one by one."
        )
    return files


def _renamed(data_file: Path, master: Path, output: Path) -> Path:
    name = data_file.name
    if name.startswith(prefix(master)):
        name = prefix(output) + name.removeprefix(prefix(master))
    return output.with_name(name)
