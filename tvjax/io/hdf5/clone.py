"""A copy of an HDF5 file, with new images in the place of the old ones.

Every group, attribute, dataset and link returns as it was. What changes are the
images, the links and virtual datasets that lead to them, and the few values that
depend on their type, their scale or their number.
"""

import dataclasses
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from jaxtyping import ArrayLike, Int, Num

from tvjax.io.encoding import Encoding
from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.channels import drop_channel_axis
from tvjax.io.hdf5.corrections import CORRECTIONS
from tvjax.io.hdf5.layout import FRAMES_FIRST, Layout, place_of_frame
from tvjax.io.hdf5.origins import Origin, origins, sources
from tvjax.io.hdf5.prefixes import check_prefixes, linked_file, Reference
from tvjax.io.hdf5.references import copy_attributes, lead_references
from tvjax.io.hdf5.slots import create_images, Slot
from tvjax.io.hdf5.tree import (
    Address,
    address,
    dataset_at,
    find_item,
    join,
    names_in,
    path_of,
    place_of,
    walk,
)
from tvjax.io.hdf5.unknown_types import is_known
from tvjax.io.hdf5.values import read_values
from tvjax.io.series import Selection


def clone_of(
    layout: Layout,
    master: Path,
    slots: tuple[Slot, ...],
    selection: Selection,
    shape: tuple[int, int],
    encoding: Encoding,
) -> "Clone":
    """Return how the file of `layout` is copied, with room for the images of `slots`.

    Args:
        layout: The input.
        master: The file that the copy will be.
        slots: Where the images go.
        selection: The frames that are kept.
        shape: Rows and columns of a frame.
        encoding: How values are stored.
    """
    return Clone(
        source=layout.file,
        own=master,
        master=master,
        slots=slots,
        files=_cloned_files(layout, master, slots),
        places={address(s.like.images): s for s in slots if s.like},
        images={address(each.images) for each in layout.datasets},
        positions=_positions(layout, selection),
        missing=frozenset(layout.missing),
        apart=layout.apart,
        selection=selection,
        shape=shape,
        encoding=encoding,
    )


@dataclass(frozen=True, kw_only=True)
class Clone:
    """What the copy of one file needs to know.

    Attributes:
        source: The file that is copied.
        own: The file that the copy will be.
        master: The file that the copy of the master will be.
        slots: Where the images go, in this file and others.
        files: The files of the output by the real paths of those of the input.
        places: The slots by the addresses of the datasets whose places they take.
        images: Addresses of all datasets of the images.
        positions: Position in the output of each frame, by its origin; None if it is
            left out.
        missing: Paths of images that are not there.
        apart: Addresses of what belongs to other images, and is copied as it is.
        selection: The frames that are kept.
        shape: Rows and columns of a frame.
        encoding: How values are stored.
    """

    source: h5py.File
    own: Path
    master: Path
    slots: tuple[Slot, ...]
    files: dict[str, Path]
    places: dict[Address, Slot]
    images: set[Address]
    positions: dict[Origin, int | None]
    missing: frozenset[str]
    apart: frozenset[Address]
    selection: Selection
    shape: tuple[int, int]
    encoding: Encoding

    def of(self, source: h5py.File, own: Path) -> "Clone":
        """Return how a data file of the same input is copied."""
        return dataclasses.replace(self, source=source, own=own)

    def copy(self, target: h5py.File) -> None:
        """Copy everything to `target`."""
        with reading(Path(self.source.filename)):
            copied = {address(self.source): "/"}
            self.copy_group(self.source, target, copied)
            lead_references(self.source, target, copied)

    def copy_group(
        self, source: h5py.Group, target: h5py.Group, copied: dict[Address, str]
    ) -> None:
        """Copy all in `source`; `copied` has the path of each object copied so far."""
        copy_attributes(source, target)
        if self._holds_channels(source):
            drop_channel_axis(target)
        for name in names_in(source):
            link = source.get(name, getlink=True)
            item = find_item(source, name)
            if item is None:
                self._copy_lost(source, target, name)
            elif isinstance(item, h5py.Dataset) and not is_known(item):
                self._copy_unknown(item, target, name)
            elif self._is_left_out(item):
                continue
            elif isinstance(link, h5py.SoftLink) and source.file == self.source:
                target[name] = h5py.SoftLink(link.path)
            elif (slot := self._elsewhere(item)) is not None:
                target[name] = self._link(self._file_of(slot), slot.place)
            elif address(item) in copied:
                target[name] = target.file[copied[address(item)]]
            elif isinstance(link, h5py.HardLink):
                self._copy_item(item, target, name, copied)
            else:
                self._copy_link(item, target, name, copied)

    def _copy_item(
        self,
        item: h5py.Group | h5py.Dataset | h5py.Datatype,
        target: h5py.Group,
        name: str,
        copied: dict[Address, str],
    ) -> None:
        copied[address(item)] = join(path_of(target), name)
        if isinstance(item, h5py.Group):
            self.copy_group(item, target.create_group(name), copied)
        elif isinstance(item, h5py.Dataset):
            self._copy_dataset(item, target, name)
        else:
            target.copy(item, target, name)

    def _copy_dataset(self, item: h5py.Dataset, target: h5py.Group, name: str) -> None:
        if slot := self.places.get(address(item)):
            create_images(target, name, slot, self.shape, self.encoding)
        elif (shown := self._shown(item)) is not None:
            self._create_view(item, shown, target, name)
        elif (value := self._corrected(item, name)) is not None:
            copy_attributes(item, target.create_dataset(name, data=value))
        elif self._has_planes(item):
            self._copy_planes(item, target, name)
        elif item.is_virtual:
            self._copy_virtual(item, target, name)
        else:
            target.copy(item, target, name)

    def _copy_unknown(self, item: h5py.Dataset, target: h5py.Group, name: str) -> None:
        """Copy a dataset that h5py cannot read; references in it become empty."""
        if item.file == self.source:
            target.copy(item, target, name)
        else:
            target[name] = self._link(Path(item.file.filename), place_of(item))

    def _copy_planes(self, item: h5py.Dataset, target: h5py.Group, name: str) -> None:
        """Copy the planes of the selected frames, one at a time."""
        planes = target.create_dataset(
            name,
            (self.selection.num_frames, *self.shape),
            item.dtype,
            chunks=(1, *self.shape),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        for index in range(self.selection.num_frames):
            planes[index] = read_values(item, (self.selection.start + index,))
        copy_attributes(item, planes)

    def _copy_link(
        self,
        item: h5py.Group | h5py.Dataset | h5py.Datatype,
        target: h5py.Group,
        name: str,
        copied: dict[Address, str],
    ) -> None:
        """Copy a link to another file, or from there: what shows images is copied."""
        place = place_of(item)
        new = self.files.get(os.path.realpath(item.file.filename))
        if isinstance(item, h5py.Dataset) and (
            self._shown(item) is not None or self._is_changed(item, name)
        ):
            self._copy_dataset(item, target, name)
        elif new is not None:
            target[name] = self._link(new, place)
        elif isinstance(item, h5py.Group) and self._shows_images(item):
            self._copy_item(item, target, name, copied)
        else:
            target[name] = self._link(Path(item.file.filename), place)

    def _is_changed(self, item: h5py.Dataset, name: str) -> bool:
        """Return whether what lies in another file must be copied, since it changes.

        Of a file that is not kept with the input a copy takes single numbers at most.

        Raises:
            FileError: Frames are selected, and such a file has a value for each.
        """
        planes = self._has_planes(item)
        value = None if planes else self._corrected(item, name)
        if value is None and not planes:
            return False
        if item.size == 1 or self._is_kept_with_input(Path(item.file.filename)):
            return True
        if not self.selection.partial:
            return False
        raise FileError(
            f"{self.source.filename} has {name} for each frame in "
            f"{item.file.filename}, which is kept elsewhere: copy that beside it, or "
            "denoise all, without --frames."
        )

    def _is_kept_with_input(self, file: Path) -> bool:
        """Return whether a file lies in or below a folder of the input's own files."""
        there = Path(os.path.realpath(file))
        return any(there.is_relative_to(Path(own).parent) for own in self.files)

    def _copy_lost(self, source: h5py.Group, target: h5py.Group, name: str) -> None:
        """Copy a link that leads nowhere, unless it led to images."""
        link = source.get(name, getlink=True)
        if join(path_of(source), name) in self.missing:
            return
        if isinstance(link, h5py.ExternalLink):
            holder = Path(source.file.filename).parent
            target[name] = self._link(holder / link.filename, link.path)
        elif isinstance(link, h5py.SoftLink):
            target[name] = h5py.SoftLink(link.path)

    def _elsewhere(
        self, item: h5py.Group | h5py.Dataset | h5py.Datatype
    ) -> Slot | None:
        """Return the slot of the images `item`, if another file holds it."""
        slot = self.places.get(address(item))
        return slot if slot and self._file_of(slot) != self.own else None

    def _is_left_out(self, item: h5py.Group | h5py.Dataset | h5py.Datatype) -> bool:
        """Return whether `item` shows images, but none that is kept."""
        if not isinstance(item, h5py.Dataset):
            return False
        if address(item) in self.images:
            return address(item) not in self.places
        return self._shown(item) == []

    def _holds_channels(self, group: h5py.Group) -> bool:
        """Return whether of images in a group one of several channels is kept."""
        if all(s.like is None or s.like.channel is None for s in self.slots):
            return False
        items = (find_item(group, name) for name in names_in(group))
        return any(
            isinstance(item, h5py.Dataset)
            and is_known(item)
            and (address(item) in self.images or self._shown(item) is not None)
            for item in items
        )

    def _shows_images(self, group: h5py.Group) -> bool:
        """Return whether images are found below a group."""
        return any(
            address(item) in self.images or self._shown(item) is not None
            for each in (group, *(found for _, found in walk(group, far=True)))
            if isinstance(each, h5py.Group)
            for name in names_in(each)
            if isinstance(item := find_item(each, name), h5py.Dataset)
            and is_known(item)
        )

    def _shown(self, item: h5py.Dataset) -> list[int] | None:
        """Return the positions of the frames that `item` shows and that are kept.

        None if it shows none of the images.

        Raises:
            FileError: It shows others as well.
        """
        if item.shape is None or len(item.shape) < 2 or item.dtype.kind not in "uif":
            return None
        if item.shape[-2:] != self.shape:
            return None
        found = origins(item)
        known = [origin in self.positions for origin in found]
        if not any(known):
            return None
        if not all(known):
            raise FileError(
                f"{item.file.filename} shows images beside other frames at "
                f"{path_of(item)}: choose these with --dataset."
            )
        positions = [self.positions[origin] for origin in found]
        return [position for position in positions if position is not None]

    def _create_view(
        self, item: h5py.Dataset, shown: list[int], target: h5py.Group, name: str
    ) -> None:
        """Create a virtual dataset that shows the new images in the order of `item`."""
        leading = item.shape[:-2]
        if math.prod(leading) != len(shown):
            leading = (len(shown),)
        view = h5py.VirtualLayout((*leading, *self.shape), self.encoding.dtype)
        ends = np.cumsum([slot.num_frames for slot in self.slots])
        owners = np.searchsorted(ends, shown, side="right")
        for number in np.unique(owners):
            slot = self.slots[number]
            source = self._source(slot)
            places = np.flatnonzero(owners == number)
            frames = np.asarray(shown)[places] - (ends[number] - slot.num_frames)
            one = len(leading) == 1 and len(source.shape) == 3
            for first, last in _runs(places, frames) if one else ():
                view[_slice(places[first:last])] = source[_slice(frames[first:last])]
            for place, frame in () if one else zip(places, frames, strict=True):
                there = place_of_frame(view.shape, int(place))[:-2]
                view[there or ...] = source[
                    place_of_frame(source.shape, int(frame))[:-2] or ...
                ]
        copy_attributes(item, target.create_virtual_dataset(name, view))

    def _source(self, slot: Slot) -> h5py.VirtualSource:
        file = self._file_of(slot)
        name = "." if file == self.own else self._from_here(file, Reference.VIRTUAL)
        shape = (slot.num_frames, *self.shape)
        if slot.like and slot.like.num_frames == slot.num_frames:
            shape = slot.like.shape
        elif slot.like and len(slot.like.shape) > 3:
            shape = (slot.num_frames, *slot.like.shape[1:])
        return h5py.VirtualSource(name, slot.place, shape, self.encoding.dtype)

    def _copy_virtual(self, item: h5py.Dataset, target: h5py.Group, name: str) -> None:
        """Copy a virtual dataset that shows no whole images, with its sources."""
        parts = list(sources(item))
        stored = {address(s.dataset) for s in parts if s.dataset is not None}
        kind = item.dtype
        if stored & self.images:
            if self.selection.partial:
                raise FileError(
                    f"{item.file.filename} shows parts of the images at "
                    f"{path_of(item)}, which no range of frames can be kept of: "
                    "denoise all, without --frames."
                )
            kind = self.encoding.dtype
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        for part in item.virtual_sources():
            taken = part.src_space
            if taken.get_select_type() == h5py.h5s.SEL_ALL:
                # HDF5 does not keep how much that is
                whole = part.vspace.get_regular_hyperslab()
                taken = h5py.h5s.create_simple(
                    tuple(c * n for c, n in zip(*whole[2:], strict=True))
                )
            creation.set_virtual(
                part.vspace,
                os.fsencode(self._moved(item, part.file_name)),
                part.dset_name.encode(),
                taken,
            )
        creation.set_fill_value(np.asarray(item.fillvalue, kind))
        h5py.h5d.create(
            target.id,
            name.encode(),
            h5py.h5t.py_create(kind, logical=True),
            item.id.get_space(),
            creation,
        )
        copy_attributes(item, dataset_at(target, name))

    def _moved(self, item: h5py.Dataset, file_name: str) -> str:
        """Return the name of a source of `item` as the copy needs it."""
        holder = Path(item.file.filename)
        if file_name == "." and os.path.realpath(holder) in self.files:
            file = self.files[os.path.realpath(holder)]
        elif file_name == ".":
            file = holder
        else:
            found = linked_file(holder, file_name, Reference.VIRTUAL)
            found = found or holder.parent / file_name
            file = self.files.get(os.path.realpath(found), found)
        return "." if file == self.own else self._from_here(file, Reference.VIRTUAL)

    def _file_of(self, slot: Slot) -> Path:
        """Return the file that a slot lies in."""
        return slot.data_file or self.master

    def _link(self, file: Path, place: str) -> h5py.ExternalLink:
        """Return a link to a place in another file, from this one."""
        return h5py.ExternalLink(self._from_here(file, Reference.LINK), place)

    def _from_here(self, file: Path, by: Reference) -> str:
        """Return the relative path to a file, though folders may be symbolic links."""
        there = os.path.join(os.path.realpath(file.parent), file.name)
        name = os.path.relpath(there, os.path.realpath(self.own.parent))
        check_prefixes(self.own, name, file, by)
        return name

    def _corrected(self, item: h5py.Dataset, name: str) -> Num[ArrayLike, "..."] | None:
        """Return the new value of what depends on the images, None for the rest."""
        if item.dtype.kind not in "uif" or address(item) in self.apart:
            return None
        correct = CORRECTIONS.get(name)
        if correct and math.prod(item.shape or ()) > math.prod(self.shape):
            return None  # no limit of pixels, whatever its name
        if correct:
            return correct(read_values(item), self.encoding)
        if not self.selection.partial:
            return None
        if name in ("nimages", "ntrigger"):
            count = self.selection.num_frames if name == "nimages" else 1
            return np.full(item.shape, count, item.dtype)
        if name.endswith("_range_total"):
            return read_values(item) * (
                self.selection.num_frames / self.selection.total
            )
        if self._is_per_frame(item):
            wanted = slice(self.selection.start, self.selection.stop)
            return read_values(item, (wanted,))
        return None

    def _has_planes(self, item: h5py.Dataset) -> bool:
        """Return whether `item` has a plane a frame, as masks have, and some to cut."""
        whole = (self.selection.total, *self.shape)
        partial = self.selection.partial and item.shape == whole
        return partial and address(item) not in self.apart

    def _is_per_frame(self, item: h5py.Dataset) -> bool:
        """Return whether `item` has one value a frame, not by chance one a row."""
        moving = ("goniometer", "transformations")
        return item.shape == (self.selection.total,) and (
            self.selection.total not in self.shape
            or path_of(item.parent).rpartition("/")[2] in moving
        )


def _runs(
    places: Int[np.ndarray, " frame"], frames: Int[np.ndarray, " frame"]
) -> Iterator[tuple[int, int]]:
    """Yield first and last (excluded) index of what has even steps in both."""
    first = 0
    while first < len(places):
        last = first + 1
        if last < len(places) and frames[last] > frames[first]:
            steps = places[last] - places[first], frames[last] - frames[first]
            while last < len(places) and steps == (
                places[last] - places[last - 1],
                frames[last] - frames[last - 1],
            ):
                last += 1
        yield first, last
        first = last


def _slice(positions: Int[np.ndarray, " frame"]) -> slice:
    """Return the slice of positions with even steps."""
    step = int(positions[1] - positions[0]) if len(positions) > 1 else 1
    return slice(int(positions[0]), int(positions[-1]) + 1, step)


def _cloned_files(
    layout: Layout, master: Path, slots: tuple[Slot, ...]
) -> dict[str, Path]:
    """Return the files of the output by the real paths of those that they copy."""
    files = {os.path.realpath(layout.path): master}
    for slot in slots:
        if slot.data_file and slot.like and slot.like.data_file:
            files[os.path.realpath(slot.like.data_file)] = slot.data_file
    return files


def _positions(layout: Layout, selection: Selection) -> dict[Origin, int | None]:
    """Return where each frame goes by its origin, None if it is left out.

    Frames that do not come first have no place of their own, hence no origin.
    """
    if any(each.axes != FRAMES_FIRST for each in layout.datasets):
        return {}
    found: list[Origin] = []
    positions: dict[Origin, int | None] = {}
    for each in layout.datasets:
        every = origins(each.images)
        positions |= dict.fromkeys(every)
        step = 1 if each.channel is None else each.images.shape[1]
        found += every[each.channel or 0 :: step]
    for index in range(selection.start, selection.stop):
        positions[found[index]] = index - selection.start
    return positions
