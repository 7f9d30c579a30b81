"""The tree of groups and datasets in an HDF5 file."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import h5py.h5o
import numpy as np
from jaxtyping import Shaped

from tvjax.io.errors import FileError
from tvjax.io.hdf5.opening import open_file
from tvjax.io.hdf5.prefixes import linked_file, Reference
from tvjax.io.hdf5.probe import DEEPEST
from tvjax.io.hdf5.unknown_types import is_known

# Names of the links that lead from a DECTRIS master to its data files.
NUMBERED = re.compile(r"data_\d+$")

# Links behind links that are followed, as in HDF5.
_MOST_LINKS = 16

# A file, and the place of an object in it.
Address = tuple[str, int]

# What an attribute or a dataset of strings may hold.
Stored = str | bytes | np.generic | Shaped[np.ndarray, "..."] | h5py.Empty


def walk(
    group: h5py.Group, *, far: bool = False
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield path and object of everything below `group`, each object once.

    Links to other files are followed by one step where they lead somewhere; those to
    the images are not, since a master can have a thousand.

    Args:
        group: Where to start.
        far: Whether groups in other files are entered.
    """
    yield from _walk(group, path_of(group), far, {address(group)})


def _walk(
    group: h5py.Group, path: str, far: bool, seen: set[Address]
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    check_depth(group, path)
    for name in names_in(group):
        link = group.get(name, getlink=True)
        external = isinstance(link, h5py.ExternalLink)
        if isinstance(link, h5py.SoftLink) or (external and NUMBERED.match(name)):
            continue
        item = find_item(group, name)
        if not isinstance(item, h5py.Group | h5py.Dataset) or address(item) in seen:
            continue
        if isinstance(item, h5py.Dataset) and not is_known(item):
            continue
        seen.add(address(item))
        yield join(path, name), item
        if isinstance(item, h5py.Group) and (far or not external):
            yield from _walk(item, join(path, name), far, seen)


def check_depth(group: h5py.Group, path: str) -> None:
    """Raise `FileError` if a group lies deeper than any that is meant.

    Args:
        group: The group.
        path: Its path, as it was reached.
    """
    if path.count("/") > DEEPEST:
        raise FileError(
            f"{group.file.filename} has groups within groups, more than {DEEPEST} "
            "deep: copy the images to a file of their own."
        )


def walk_datasets(
    group: h5py.Group, *, far: bool = False
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield path and dataset of every dataset below `group`, each once."""
    for name, item in walk(group, far=far):
        if isinstance(item, h5py.Dataset):
            yield name, item


def linked_files(file: h5py.File) -> set[Path]:
    """Return the files that a file's links, virtual or external datasets lead to.

    Those that are missing are where they would be beside it.
    """
    names: set[tuple[str, Reference]] = set()

    def note_link(
        _: str, link: h5py.HardLink | h5py.SoftLink | h5py.ExternalLink
    ) -> None:
        if isinstance(link, h5py.ExternalLink):
            names.add((link.filename, Reference.LINK))

    def note_sources(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            names.update((each[0], Reference.RAW) for each in item.external or ())
            if item.is_virtual:
                found = {each.file_name for each in item.virtual_sources()} - {"."}
                names.update((name, Reference.VIRTUAL) for name in found)

    file.visititems_links(note_link)
    file.visititems(note_sources)
    holder = Path(file.filename)
    return {linked_file(holder, name, by) or holder.parent / name for name, by in names}


def names_in(group: h5py.Group) -> list[str]:
    """Return the names of what a group holds, in its own order."""
    return [str(name) for name in group]


def join(group: str, name: str) -> str:
    """Return the path of `name` in `group`."""
    return f"{group.rstrip('/')}/{name}"


def path_of(item: h5py.Group | h5py.Dataset | h5py.Datatype) -> str:
    """Return the path of an object in its file, by the name it was reached with."""
    return str(item.name or "")


def place_of(item: h5py.Group | h5py.Dataset | h5py.Datatype) -> str:
    """Return a path that leads to an object in its own file.

    By way of links between files, HDF5 may know it by a name in another one.
    """
    wanted = address(item)
    found = find_item(item.file, path_of(item) or "/")
    if found is not None and address(found) == wanted:
        return path_of(item)
    return next(
        (name for name, each in walk(item.file) if address(each) == wanted),
        path_of(item),
    )


def group_at(parent: h5py.Group, name: str) -> h5py.Group:
    """Return the group at a path.

    Raises:
        KeyError: There is none, or something else.
    """
    item = find_item(parent, name)
    if not isinstance(item, h5py.Group):
        raise KeyError(f"{name} in {path_of(parent)} is no group")
    return item


def dataset_at(parent: h5py.Group, name: str) -> h5py.Dataset:
    """Return the dataset at a path.

    Raises:
        KeyError: There is none, or something else.
    """
    item = find_item(parent, name)
    if not isinstance(item, h5py.Dataset):
        raise KeyError(f"{name} in {path_of(parent)} is no dataset")
    return item


def find_item(
    parent: h5py.Group, name: str
) -> h5py.Group | h5py.Dataset | h5py.Datatype | None:
    """Return what a path leads to, None where it leads nowhere.

    Raises:
        FileError: What is there is damaged, or the path leads to a pipe or a device,
            which HDF5 would wait for.
    """
    try:
        _check_links(parent, name, _MOST_LINKS)
        return parent[name]
    except (KeyError, OSError, ValueError, RuntimeError) as error:
        if _is_there(parent, name):
            place = join(path_of(parent), name)
            raise FileError(
                f"{parent.file.filename} is truncated or damaged at {place}: copy it "
                "again from its source."
            ) from error
        return None


def _is_there(parent: h5py.Group, name: str) -> bool:
    """Return whether a group holds an object itself, not a link to another place."""
    try:
        return isinstance(parent.get(name, getlink=True), h5py.HardLink)
    except (KeyError, OSError, ValueError, RuntimeError):
        return False


def _check_links(parent: h5py.Group, path: str, left: int) -> None:
    """Raise `FileError` if a path leads to a pipe or a device in place of a file.

    Args:
        parent: Where the path starts.
        path: Names of groups and links.
        left: Links that may still be followed; HDF5 refuses more.
    """
    group = parent.file if path.startswith("/") else parent
    names = [name for name in path.split("/") if name]
    for place, name in enumerate(names, 1):
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink) and left:
            _check_links(group, link.path, left - 1)
        elif isinstance(link, h5py.ExternalLink) and left:
            holder = Path(group.file.filename)
            target = linked_file(holder, link.filename, Reference.LINK)
            if target is None:
                return
            with open_file(target, swmr=group.file.swmr_mode) as file:
                _check_links(file, link.path, left - 1)
        below = group[name] if place < len(names) else None
        if not isinstance(below, h5py.Group):
            return
        group = below


def find_dataset(parent: h5py.Group, name: str) -> h5py.Dataset | None:
    """Return the dataset at a path, None where there is none or something else."""
    item = find_item(parent, name)
    return item if isinstance(item, h5py.Dataset) else None


def address(item: h5py.Group | h5py.Dataset | h5py.Datatype) -> Address:
    """Return what distinguishes an HDF5 object from all others, whatever its names.

    HDF5 numbers its files anew whenever it opens them: hence the path.
    """
    return os.path.realpath(item.file.filename), h5py.h5o.get_info(item.id).addr


def text(value: Stored) -> str:
    """Return an HDF5 string, however it is stored; empty if there is none."""
    if isinstance(value, h5py.Empty) or not np.size(value):
        return ""
    first = np.asarray(value).ravel()[0]
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def text_attribute(item: h5py.Group | h5py.Dataset, name: str) -> str:
    """Return an attribute that is a string; empty where there is none."""
    return text(item.attrs.get(name, ""))


def number_attribute(item: h5py.Group | h5py.Dataset, name: str) -> float | None:
    """Return an attribute that is one number or truth value, None for all else."""
    value = item.attrs.get(name)
    if value is None or isinstance(value, h5py.Empty):
        return None
    values = np.ravel(value)
    known = values.size == 1 and values.dtype.kind in "uifb"
    return float(values[0]) if known else None
