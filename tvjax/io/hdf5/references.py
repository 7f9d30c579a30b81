"""References between the objects of an HDF5 file, which a copy must lead to its own."""

import functools
from collections.abc import Callable

import h5py
import numpy as np
from h5py.h5r import Reference
from jaxtyping import Shaped

from tvjax.io.hdf5.tree import Address, address, find_item
from tvjax.io.hdf5.unknown_types import known_attributes
from tvjax.io.hdf5.values import read_values

# What HDF5 keeps with the axes of a dataset and with their scales, for each other.
_SCALES = ("DIMENSION_LIST", "REFERENCE_LIST")


def copy_attributes(
    source: h5py.Group | h5py.Dataset, target: h5py.Group | h5py.Dataset
) -> None:
    """Copy all attributes that can be, but references, which wait for all the rest."""
    for name in known_attributes(source):
        kind = source.attrs.get_id(name).dtype
        if not _refers(kind):
            target.attrs.create(name, source.attrs[name], dtype=kind)


def lead_references(
    source: h5py.File, target: h5py.File, copied: dict[Address, str]
) -> None:
    """Let the references in a copy lead to what they led to, in the copy.

    What they led to and is not there, or has another shape where a region of it was
    meant, leaves an empty reference.

    Args:
        source: The file that was copied.
        target: The copy.
        copied: Path of everything in the copy, by its address in the source.
    """
    scales: list[tuple[h5py.Dataset, h5py.Dataset]] = []

    for path in copied.values():
        old, new = find_item(source, path), find_item(target, path)
        if not isinstance(old, h5py.Group | h5py.Dataset):
            continue
        if not isinstance(new, h5py.Group | h5py.Dataset) or new.file != target:
            continue
        lead = functools.partial(_led, holder=old.file, target=target, copied=copied)
        for name in known_attributes(old):
            kind = old.attrs.get_id(name).dtype
            if name in _SCALES:
                if name in new.attrs:
                    del new.attrs[name]
            elif _refers(kind):
                values = np.asarray(
                    old.attrs[name], object if _is_object(kind) else None
                )
                new.attrs.create(name, _translated(values, kind, lead), dtype=kind)
        if not isinstance(old, h5py.Dataset) or not isinstance(new, h5py.Dataset):
            continue
        if _refers(old.dtype):
            values = _translated(read_values(old), old.dtype, lead)
            for place in np.ndindex(new.shape):  # h5py writes lists one at a time
                new[place] = values[place]
        if "DIMENSION_LIST" in old.attrs:
            scales.append((old, new))
    for old, new in scales:
        _attach(old, new, target, copied)


def _led(
    reference: Reference,
    holder: h5py.File,
    target: h5py.File,
    copied: dict[Address, str],
) -> Reference:
    """Return the reference in the copy for one in the file `holder`."""
    region = isinstance(reference, h5py.RegionReference)
    empty = h5py.RegionReference() if region else Reference()
    if not reference:
        return empty
    try:
        item = holder[reference]
    except (KeyError, ValueError, OSError, RuntimeError):
        return empty  # what it led to was removed
    new = (
        find_item(target, copied.get(address(item), ""))
        if address(item) in copied
        else None
    )
    if new is None:
        return empty
    if not region:
        return new.ref
    if not isinstance(item, h5py.Dataset) or item.shape != getattr(new, "shape", None):
        return empty
    space = h5py.h5r.get_region(reference, holder.id)
    return h5py.h5r.create(new.id, b".", h5py.h5r.DATASET_REGION, space)


def _attach(
    old: h5py.Dataset, new: h5py.Dataset, target: h5py.File, copied: dict[Address, str]
) -> None:
    """Attach the scales of the axes of a dataset to those of its copy."""
    if len(old.shape) != len(new.shape):
        return
    for axis in range(len(old.shape)):
        for scale in old.dims[axis].values():
            found = find_item(target, copied.get(address(scale), "/"))
            if isinstance(found, h5py.Dataset):
                new.dims[axis].attach_scale(found)


def _is_object(kind: np.dtype) -> bool:
    return kind.kind == "O"


def _refers(kind: np.dtype) -> bool:
    """Return whether values of this type are references or contain some."""
    if h5py.check_ref_dtype(kind) is not None:
        return True
    inner = h5py.check_vlen_dtype(kind)
    if inner is not None:
        return isinstance(inner, np.dtype) and _refers(inner)
    if kind.subdtype is not None:
        return _refers(kind.subdtype[0])
    return any(_refers(kind[index]) for index in range(len(kind.names or ())))


def _translated(
    values: Shaped[np.ndarray, "..."],
    kind: np.dtype,
    lead: Callable[[Reference], Reference],
) -> Shaped[np.ndarray, "..."]:
    """Return values with every reference in them led to the copy."""
    if kind.subdtype is not None:
        kind = kind.subdtype[0]
    inner = h5py.check_vlen_dtype(kind)
    if kind.names is not None:
        new = values.copy()
        for index, name in enumerate(kind.names):
            if _refers(kind[index]):
                new[name] = _translated(values[name], kind[index], lead)
        return new
    new = np.empty(values.shape, kind)
    for place in np.ndindex(values.shape):
        value = values[place]
        new[place] = lead(value) if inner is None else _translated(value, inner, lead)
    return new
