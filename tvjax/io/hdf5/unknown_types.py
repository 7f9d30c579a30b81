"""What an HDF5 file holds of types that h5py cannot read, such as new references."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import h5py.h5a
import h5py.h5o
import h5py.h5t


def is_known(item: h5py.Dataset) -> bool:
    """Return whether the type of a dataset is one that can be read."""
    try:
        return item.dtype is not None
    except TypeError:
        return False


def known_attributes(item: h5py.Group | h5py.Dataset) -> list[str]:
    """Return the names of the attributes whose types can be read."""
    found = []
    for name in item.attrs:
        try:
            item.attrs.get_id(name).dtype  # noqa: B018  which has to be looked at
        except TypeError:
            continue
        found.append(name)
    return found


def lost_in_copies(path: Path, file: h5py.File) -> Iterator[str]:
    """Yield a sentence on what a copy of a file cannot have.

    Args:
        path: The name of the file, for the sentence.
        file: The same, open.
    """
    attributes: list[str] = []
    references: list[str] = []

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        here = "/" + name.strip("/")
        lost = sorted({*item.attrs} - {*known_attributes(item)})
        attributes.extend(f"{here}@{each}" for each in lost)
        if isinstance(item, h5py.Dataset) and not is_known(item):
            if item.id.get_type().detect_class(h5py.h5t.REFERENCE):
                references.append(here)

    note("/", file)
    file.visititems(note)
    if attributes:
        yield (
            f"{path} has attributes of types that h5py cannot read, "
            f"{', '.join(attributes)}: HDF5 output leaves them out."
        )
    if references:
        yield (
            f"{path} has references of HDF5 1.12, {', '.join(references)}, which "
            "h5py cannot read: they are empty in HDF5 output."
        )
