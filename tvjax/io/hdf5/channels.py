"""Several images a frame: one for each threshold of a detector, and their difference.

Each has a noise of its own, so that one is read at a time.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from tvjax.io.errors import FileError
from tvjax.io.hdf5.tree import (
    find_item,
    names_in,
    NUMBERED,
    path_of,
    text,
    walk,
)
from tvjax.io.hdf5.values import read_values

# The group of a detector that describes one of its channels, as NXmx names it.
_GROUP = re.compile(r"(?P<name>\w+)_channel$")

# Names that channels have where a file does not name them.
_USUAL = re.compile(r"threshold_\d+$|difference$")


class Channel(NamedTuple):
    """One of several images a frame.

    Attributes:
        position: Its place among them.
        names: The names of all.
    """

    position: int
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the file calls it."""
        return self.names[self.position]

    def is_of_another(self, path: str) -> bool:
        """Return whether a path leads to what describes another channel."""
        found = [_GROUP.match(part) for part in path.split("/")]
        return any(each and each["name"] != self.name for each in found)

    def is_of_this(self, path: str) -> bool:
        """Return whether a path leads to what describes this channel."""
        return f"/{self.name}_channel/" in path


def split_channel(file: h5py.File, wanted: str | None) -> tuple[str | None, str | None]:
    """Return the dataset and the channel that a user means by one text.

    Args:
        file: The file.
        wanted: A path, a path and the name of a channel as in `PATH:NAME`, or a name.
    """
    if wanted is None or find_item(file, wanted) is not None:
        return wanted, None
    path, colon, name = wanted.rpartition(":")
    if "/" in name or not (colon or _is_name(file, name)):
        return wanted, None
    return path or None, name


def find_channel(
    path: Path,
    file: h5py.File,
    parts: Sequence[tuple[str, h5py.Dataset]],
    wanted: str | None,
    *,
    numbered: bool,
) -> Channel | None:
    """Return the channel that is read, None where there is one image a frame.

    A raster of frames has as many axes: detectors number theirs, or tell the channels.

    Args:
        path: The name of the file, for sentences about it.
        file: The same, open.
        parts: Path and dataset of the images.
        wanted: The name of a channel, where the user names one.
        numbered: Whether the images are numbered datasets.

    Raises:
        FileError: There are several channels and none is named, or there is no such.
    """
    name, images = parts[0]
    names = _names(file, name, images, numbered=numbered)
    if not names and wanted is not None:
        raise FileError(
            f"{path} has no dataset {wanted}, and one image a frame at {name}, of no "
            "threshold that could be chosen: drop --dataset, or name a path."
        )
    if not names:
        return None
    if wanted in names:
        return Channel(names.index(wanted), names)
    raise FileError(
        f"{path} has {len(names)} images a frame at {name} {images.shape}, of "
        f"{', '.join(names)}: choose one with --dataset "
        + " or --dataset ".join(names)
        + "."
    )


def check_channels(
    path: Path, name: str, images: h5py.Dataset, channel: Channel
) -> None:
    """Raise `FileError` where a part of the images has other channels than the first.

    Args:
        path: The name of the file.
        name: The path of the part.
        images: The part.
        channel: The channel that is read, of the first part.
    """
    if len(images.shape) != 4 or images.shape[1] != len(channel.names):
        raise FileError(
            f"{path} has images of {images.shape} at {name}, and others of "
            f"{len(channel.names)} thresholds: choose some with --dataset."
        )


def left_unread(path: Path, channel: Channel) -> str:
    """Return a sentence on the channels that are not read.

    Args:
        path: The name of the file.
        channel: The channel that is read.
    """
    others = [name for name in channel.names if name != channel.name]
    return (
        f"{path} has an image of each of {', '.join(channel.names)} in a frame, and "
        f"{channel.name} is read: HDF5 output has no images of {', '.join(others)}; "
        "denoise those by runs of their own."
    )


def drop_channel_axis(group: h5py.Group) -> None:
    """Take the channel from the names of the axes of images of which one is kept."""
    axes = np.ravel(np.asarray(group.attrs.get("axes", ())))
    if len(axes) == 4:
        names = [text(name) for name in np.delete(axes, 1)]
        group.attrs.create("axes", names, dtype=h5py.string_dtype())


def _is_name(file: h5py.File, name: str) -> bool:
    """Return whether a word can be the name of a channel of a file."""
    if _USUAL.match(name):
        return True
    return any(
        path.endswith(f"/{name}_channel")
        or (path.endswith("/channel") and name in _texts(item))
        for path, item in walk(file)
    )


def _names(
    file: h5py.File, name: str, images: h5py.Dataset, *, numbered: bool
) -> tuple[str, ...]:
    """Return the names of the channels; none where there is one, or a raster."""
    if len(images.shape) != 4 or images.shape[1] < 2:
        return ()
    number = images.shape[1]
    told = _axis(file, name, number) or _groups(file, number)
    if told:
        return told
    if numbered or NUMBERED.match(name.rpartition("/")[2]) or _counts(file, number):
        return tuple(f"threshold_{n}" for n in range(1, number + 1))
    return ()


def _axis(file: h5py.File, name: str, number: int) -> tuple[str, ...]:
    """Return the names that the axes of the images have, in the group around them."""
    group = find_item(file, name.rpartition("/")[0] or "/")
    if not isinstance(group, h5py.Group):
        return ()
    axes = [text(each) for each in np.ravel(group.attrs.get("axes", ()))]
    for own in (*axes[1:2], "channel"):
        found = _texts(find_item(group, own)) if own in names_in(group) else ()
        if len(found) == number:
            return found
    return ()


def _texts(item: h5py.Group | h5py.Dataset | h5py.Datatype | None) -> tuple[str, ...]:
    """Return the texts in a list of them; none of what is something else."""
    if not isinstance(item, h5py.Dataset) or len(item.shape or ()) != 1:
        return ()
    if item.dtype.kind not in "OS":
        return ()
    return tuple(text(each) for each in read_values(item))


def _groups(file: h5py.File, number: int) -> tuple[str, ...]:
    """Return the channels that a detector describes, if they are as many."""
    found = {
        match["name"]
        for path, item in walk(file)
        if isinstance(item, h5py.Group)
        and (match := _GROUP.match(path.rpartition("/")[2]))
    }
    # detectors write the difference behind the thresholds
    ordered = sorted(found, key=lambda each: (each.startswith("difference"), each))
    return tuple(ordered) if len(found) == number else ()


def _counts(file: h5py.File, number: int) -> bool:
    """Return whether a file has a list of so many thresholds."""
    return any(
        isinstance(item, h5py.Dataset)
        and item.size == number
        and path_of(item).rpartition("/")[2].startswith("threshold")
        for _, item in walk(file, far=True)
    )
