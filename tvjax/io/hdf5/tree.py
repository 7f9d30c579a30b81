"""How does one go through the tree of an HDF5 file?"""

import re
from collections.abc import Iterator

import h5py
import numpy as np

NUMBERED = re.compile(r"data_\d+$")  # links from a DECTRIS master to its data files


def walk(
    group: h5py.Group, seen: set[tuple[int, int]] | None = None
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield path and object of everything below `group`, each object once.

    Links to other files are followed by one step where they lead somewhere; those to
    the images are not, since a master can have a thousand.
    """
    seen = set() if seen is None else seen
    for name in group:
        link = group.get(name, getlink=True)
        external = isinstance(link, h5py.ExternalLink)
        if isinstance(link, h5py.SoftLink) or (external and NUMBERED.match(name)):
            continue
        try:
            item = group[name]
        except (KeyError, OSError):
            continue
        if not isinstance(item, h5py.Group | h5py.Dataset) or address(item) in seen:
            continue
        seen.add(address(item))
        yield join(group.name, name), item
        if isinstance(item, h5py.Group) and not external:
            yield from walk(item, seen)


def join(group: str, name: str) -> str:
    """Return the path of `name` in `group`."""
    return f"{group.rstrip('/')}/{name}"


def address(item: h5py.Group | h5py.Dataset) -> tuple[int, int]:
    """Return what tells an HDF5 object from all others, whatever its names."""
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def text(value: object) -> str:
    """Return an HDF5 string, however it is stored; empty if there is none."""
    if not np.size(value):
        return ""
    value = np.asarray(value).ravel()[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
