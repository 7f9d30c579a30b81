"""The values of HDF5 datasets: what is read of a file passes here."""

import math
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Shaped

from tvjax.io.errors import check_kind
from tvjax.io.hdf5.chunk_checks import check_chunks, Place
from tvjax.io.hdf5.origins import check_sources, stored_in
from tvjax.io.hdf5.prefixes import linked_file, Reference
from tvjax.io.hdf5.tree import path_of
from tvjax.io.limits import check_beside


def read_values(item: h5py.Dataset, place: Place = ()) -> Shaped[np.ndarray, "..."]:
    """Return the values at a place of a dataset, by default all.

    Raises:
        FileError: They take too much memory, lie in a pipe or a device, or are not
            there.
        ValueError: A chunk is damaged.
    """
    if item.is_virtual:
        check_sources(Path(item.file.filename), item)
        for each in stored_in(item):
            check_chunks(each)
    return read_stored(item, place)


def read_stored(item: h5py.Dataset, place: Place) -> Shaped[np.ndarray, "..."]:
    """Return the same of a dataset whose sources, if it is virtual, were looked at."""
    path = Path(item.file.filename)
    for name, *_ in item.external or ():
        check_kind(linked_file(path, name, Reference.RAW) or Path(name))
    parts = (*place, *(slice(None),) * (len(item.shape) - len(place)))
    lengths = [
        len(range(*part.indices(length))) if isinstance(part, slice) else 1
        for part, length in zip(parts, item.shape, strict=True)
    ]
    check_beside(path, path_of(item), math.prod(lengths) * item.dtype.itemsize)
    check_chunks(item, place)
    return np.asarray(item[place])


def read_number(item: h5py.Dataset) -> float | None:
    """Return the one number in a dataset, None where there is none or more."""
    if item.size != 1 or item.dtype.kind not in "uif":
        return None
    return float(np.ravel(read_values(item))[0])
