"""What of an HDF5 file belongs to the detector whose images are read."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import h5py
import numpy as np

from tvjax.io.hdf5.channels import Channel
from tvjax.io.hdf5.layout import FrameDataset
from tvjax.io.hdf5.tree import (
    Address,
    address,
    check_depth,
    find_dataset,
    find_item,
    join,
    names_in,
    NUMBERED,
    text_attribute,
)
from tvjax.io.hdf5.unknown_types import is_known
from tvjax.io.hdf5.values import read_values

# Groups in which a detector keeps what is its own.
_INNER = ("detectorSpecific",)

# Values of what a detector tells: as many as it has pixels, but not those of a scan.
_MOST_VALUES = 2**26


class Named(NamedTuple):
    """A dataset by one of its names."""

    path: str  # as it was reached from the file that was opened
    item: h5py.Dataset
    group: Address  # the group that holds the name
    owner: Address  # the detector around it, or else that group
    of_detector: bool  # whether the owner is declared to be a detector

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def holder(self) -> str:
        """The name of the group that it belongs to."""
        parts = [part for part in self.path.split("/")[:-1] if part not in _INNER]
        return parts[-1] if parts else ""


class Ownership(NamedTuple):
    """All datasets of a file by all their names, and what is the images' own."""

    named: tuple[Named, ...]
    groups: tuple[h5py.Group, ...]  # of that file that hold the images by any name
    owners: frozenset[Address]  # these, and the detectors around the images
    in_detector: bool  # whether one of them is declared to be a detector
    places: tuple[str, ...]  # the paths of the images
    channel: Channel | None = None  # which of several images a frame these are

    def own(self, found: Sequence[Named]) -> list[Named]:
        """Return those of `found` that belong to the images, or may.

        Those of their detector, if there are any; else those of their entry that are of
        no other detector; else all such. Where these are of several detectors, the name
        of one may be among those of the groups of the images.
        """
        if self.channel is not None:
            mine = [each for each in found if self.channel.is_of_this(each.path)]
            if mine:
                return mine
        mine = [each for each in found if each.owner in self.owners]
        if mine:
            return mine
        left = [e for e in found if not (self.in_detector and e.of_detector)]
        entry = self.places[0].split("/")[1]
        left = [each for each in left if each.path.split("/")[1] == entry] or left
        words = {word.lower() for place in self.places for word in place.split("/")}
        named = [each for each in left if each.holder.lower() in words]
        return named if len({each.owner for each in named}) == 1 else left

    def number(self, name: str) -> float | None:
        """Return the one number that the images' detector has under a name, if any.

        NaN is no number.
        """
        found = [
            each
            for each in self.named
            if each.name == name
            and each.item.dtype.kind in "uif"
            and 0 < (each.item.size or 0) <= _MOST_VALUES
        ]
        values = {
            float(value)
            for each in self.own(found)
            for value in np.unique(read_values(each.item))
        }
        (value,) = values if len(values) == 1 else (math.nan,)
        return None if math.isnan(value) else value


def find_ownership(
    file: h5py.File, datasets: Sequence[FrameDataset], channel: Channel | None = None
) -> Ownership:
    """Return what belongs to the images in `datasets`.

    Args:
        file: The file that was opened.
        datasets: Where the images lie.
        channel: Which of several images a frame is read.
    """
    named = tuple(walk_names(file))
    if channel is not None:
        named = tuple(each for each in named if not channel.is_of_another(each.path))
    images = {address(each.images) for each in datasets}
    for each in datasets:
        images |= set(_shown(each.images))
    holders = [each for each in named if address(each.item) in images]
    places = tuple(each.name for each in datasets)
    found = {}
    for path in (*places, *(each.path for each in holders)):
        group = find_item(file, path.rpartition("/")[0] or "/")
        if isinstance(group, h5py.Group):
            found[address(group)] = group
    return Ownership(
        named,
        tuple(found.values()),
        frozenset({*found, *(each.owner for each in holders)}),
        any(each.of_detector for each in holders),
        places,
        channel,
    )


def walk_names(
    group: h5py.Group,
    path: str = "",
    around: Address | None = None,
    seen: set[Address] | None = None,
) -> Iterator[Named]:
    """Yield every dataset below `group` by every name, behind links of any kind.

    Links to the images of a master are not followed, since it can have a thousand. A
    group is entered once, so that links may form a ring.

    Args:
        group: Where to start.
        path: Its path.
        around: The detector around it.
        seen: The groups entered so far.
    """
    check_depth(group, path)
    seen = set() if seen is None else seen
    here = address(group)
    if here in seen:
        return
    seen.add(here)
    if text_attribute(group, "NX_class") == "NXdetector":
        around = here
    for name in names_in(group):
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink) and NUMBERED.match(name):
            continue
        item = find_item(group, name)
        place = join(path, name)
        if isinstance(item, h5py.Group):
            outer = here if around is None and name in _INNER else around
            yield from walk_names(item, place, outer, seen)
        elif (
            isinstance(item, h5py.Dataset) and is_known(item) and item.shape is not None
        ):
            owner = here if around is None else around
            yield Named(place, item, here, owner, around is not None)


def _shown(images: h5py.Dataset) -> Iterator[Address]:
    """Yield the datasets of the same file that a virtual one shows."""
    if images.is_virtual:
        names = {s.dset_name for s in images.virtual_sources() if s.file_name == "."}
        for name in names:
            item = find_dataset(images.file, name)
            if item is not None:
                yield address(item)
