"""A copy of an HDF5 file, with new images in the place of the old ones.

Every group, attribute, dataset and link returns as it was. What changes are the
images, the links and virtual datasets that lead to them, and the few values that
depend on their type, their scale or their number.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import hdf5plugin
import numpy as np
from jaxtyping import ArrayLike, Num

from tvjax.io.encoding import Encoding
from tvjax.io.hdf5.layout import FrameDataset, FRAMES_FIRST, Layout, place_of_frame
from tvjax.io.hdf5.tree import address, join, names_in, path_of
from tvjax.io.series import Selection

# Names of the datasets that change with the type or the scale of the images: counts
# from which a pixel cannot be trusted, bits of a value, and counts for one stored unit.
_LIMITS = (
    "saturation_value",
    "underload_value",
    "countrate_correction_count_cutoff",
)
_BIT_DEPTHS = ("bit_depth_image", "bit_depth_readout")
_SCALES = ("data_scale_factor", "data_scaling_factor")


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
    """
    lengths = []
    first = 0
    for each in layout.datasets:
        last = first + each.num_frames
        lengths.append(min(selection.stop, last) - max(selection.start, first))
        first = last
    lengths = [length for length in lengths if length > 0]
    return tuple(
        Slot(
            each.name,
            path_of(each.images) if each.data_file else each.name,
            length,
            each.data_file and _data_file(each.data_file, layout.path, output),
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
        whole, axes = slot.like.images.shape, slot.like.axes
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


def clone_master(
    layout: Layout,
    target: h5py.File,
    folder: Path,
    slots: tuple[Slot, ...],
    selection: Selection,
    shape: tuple[int, int],
    encoding: Encoding,
) -> None:
    """Copy the file of `layout` to `target`, which will lie in `folder`."""
    kept = {slot.name: slot for slot in slots}
    links = {d.name: _link(kept.get(d.name)) for d in layout.datasets if d.data_file}
    held = _held(slot for slot in slots if slot.data_file is None)
    clone = _Clone(slots, links, held, selection, shape, encoding, folder)
    clone.copy_group(layout.file, target, {})


def clone_data_file(
    source: h5py.File,
    target: h5py.File,
    folder: Path,
    slots: tuple[Slot, ...],
    selection: Selection,
    shape: tuple[int, int],
    encoding: Encoding,
) -> None:
    """Copy the data file that held the images of `slots` to `target`."""
    clone = _Clone(slots, {}, _held(slots), selection, shape, encoding, folder)
    clone.copy_group(source, target, {})


def copy_attributes(
    source: h5py.Group | h5py.Dataset, target: h5py.Group | h5py.Dataset
) -> None:
    """Copy all attributes but references, which mean nothing in another file."""
    for name in source.attrs:
        kind = source.attrs.get_id(name).dtype
        if h5py.check_ref_dtype(kind) is None and kind.names is None:
            target.attrs.create(name, source.attrs[name], dtype=kind)


@dataclass(frozen=True)
class _Clone:
    """What one copy needs to know."""

    slots: tuple[Slot, ...]
    links: dict[str, h5py.ExternalLink | None]  # to images, by path; None: left out
    held: dict[tuple[int, int], Slot]  # images in the copied file itself, by address
    selection: Selection
    shape: tuple[int, int]
    encoding: Encoding
    folder: Path

    def copy_group(
        self,
        source: h5py.Group,
        target: h5py.Group,
        copied: dict[tuple[int, int], str],
    ) -> None:
        """Copy all in `source`; `copied` has the path of each object copied so far."""
        copy_attributes(source, target)
        for name in names_in(source):
            path = join(path_of(source), name)
            link = source.get(name, getlink=True)
            if path in self.links:
                if new := self.links[path]:
                    target[name] = new
            elif isinstance(link, h5py.SoftLink):
                if self.links.get(join(path_of(source), link.path), link) is not None:
                    target[name] = h5py.SoftLink(link.path)
            elif isinstance(link, h5py.ExternalLink):
                self._copy_link(source, target, name, link)
            elif (item := source[name]) and address(item) in copied:
                target[name] = target.file[copied[address(item)]]
            else:
                copied[address(item)] = path
                if isinstance(item, h5py.Group):
                    self.copy_group(item, target.create_group(name), copied)
                elif isinstance(item, h5py.Dataset):
                    self._copy_dataset(item, target, name)
                else:
                    source.copy(name, target)

    def _copy_dataset(self, item: h5py.Dataset, target: h5py.Group, name: str) -> None:
        if slot := self.held.get(address(item)):
            create_images(target, name, slot, self.shape, self.encoding)
        elif self._is_view(item):
            self._create_view(item, target, name)
        elif (value := self._corrected(item, name)) is not None:
            copy_attributes(item, target.create_dataset(name, data=value))
        elif item.is_virtual:
            # Its sources are named relative to the old folder.
            copy_attributes(item, target.create_dataset(name, data=item[()]))
        else:
            target.copy(item, target, name)

    def _copy_link(
        self, source: h5py.Group, target: h5py.Group, name: str, link: h5py.ExternalLink
    ) -> None:
        """Copy a link to something in another file that is no image."""
        holder = Path(source.file.filename).parent / link.filename
        try:
            item = source[name]
        except (KeyError, OSError):
            target[name] = h5py.ExternalLink(link.filename, link.path)
            return
        if isinstance(item, h5py.Dataset) and self._is_view(item):
            self._create_view(item, target, name)
        elif (
            isinstance(item, h5py.Dataset)
            and (value := self._corrected(item, name)) is not None
        ):
            copy_attributes(item, target.create_dataset(name, data=value))
        else:
            moved = os.path.relpath(holder, self.folder)
            target[name] = h5py.ExternalLink(moved, link.path)

    def _is_view(self, item: h5py.Dataset) -> bool:
        """Return whether `item` shows the frames that the slots hold."""
        if not item.is_virtual or item.shape != (self.selection.total, *self.shape):
            return False
        shown = {slot.name for slot in self.slots}
        shown |= {path_of(slot.like.images) for slot in self.slots if slot.like}
        sources = [
            f"/{source.dset_name.strip('/')}" for source in item.virtual_sources()
        ]
        return any("%" in name or name in shown for name in sources)

    def _create_view(self, item: h5py.Dataset, target: h5py.Group, name: str) -> None:
        view = h5py.VirtualLayout(
            (self.selection.num_frames, *self.shape), self.encoding.dtype
        )
        first = 0
        for slot in self.slots:
            last = first + slot.num_frames
            view[first:last] = h5py.VirtualSource(
                slot.data_file.name if slot.data_file else ".",
                slot.place,
                (slot.num_frames, *self.shape),
                self.encoding.dtype,
            )
            first = last
        copy_attributes(item, target.create_virtual_dataset(name, view))

    def _corrected(self, item: h5py.Dataset, name: str) -> Num[ArrayLike, "..."] | None:
        """Return the new value of what depends on the images, None for the rest."""
        if item.dtype.kind not in "uif":
            return None
        correct = _CORRECTIONS.get(name)
        if correct:
            return correct(item[()], self.encoding)
        if not self.selection.partial:
            return None
        if name in ("nimages", "ntrigger"):
            count = self.selection.num_frames if name == "nimages" else 1
            return np.full(item.shape, count, item.dtype)
        if name.endswith("_range_total"):
            return item[()] * (self.selection.num_frames / self.selection.total)
        if self._is_per_frame(item):
            return item[self.selection.start : self.selection.stop]
        return None

    def _is_per_frame(self, item: h5py.Dataset) -> bool:
        """Return whether `item` has one value a frame, not by chance one a row."""
        moving = ("goniometer", "transformations")
        return item.shape == (self.selection.total,) and (
            self.selection.total not in self.shape
            or path_of(item.parent).rpartition("/")[2] in moving
        )


def _limit(value: Num[ArrayLike, "..."], encoding: Encoding) -> Num[np.ndarray, "..."]:
    value = np.asarray(value)
    stored = encoding.limit(value)
    fits = value.dtype.kind == "f" or np.max(stored) <= np.iinfo(value.dtype).max
    return stored.astype(value.dtype if fits else np.uint32)


def _bit_depth(
    value: Num[ArrayLike, "..."], encoding: Encoding
) -> Num[np.ndarray, "..."]:
    return np.full_like(value, 8 * encoding.dtype.itemsize)


def _scale_factor(
    value: Num[ArrayLike, "..."], encoding: Encoding
) -> Num[np.ndarray, "..."]:
    return np.asarray(value / encoding.scale)


_CORRECTIONS: dict[
    str, Callable[[Num[ArrayLike, "..."], Encoding], Num[np.ndarray, "..."]]
] = {
    **dict.fromkeys(_LIMITS, _limit),
    **dict.fromkeys(_BIT_DEPTHS, _bit_depth),
    **dict.fromkeys(_SCALES, _scale_factor),
}


def _link(slot: Slot | None) -> h5py.ExternalLink | None:
    """Return the link to the images of a slot in a data file, None without one."""
    if slot is None or slot.data_file is None:
        return None
    return h5py.ExternalLink(slot.data_file.name, slot.place)


def _held(slots: Iterable[Slot]) -> dict[tuple[int, int], Slot]:
    """Return slots by the address of the images whose place they take."""
    return {address(slot.like.images): slot for slot in slots if slot.like}


def _data_file(data_file: Path, master: Path, output: Path) -> Path:
    name = data_file.name
    if name.startswith(prefix(master)):
        name = prefix(output) + name.removeprefix(prefix(master))
    return output.with_name(name)
