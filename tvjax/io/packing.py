"""Arrays as few bytes, by the compression that HDF5 has for images."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import h5py
import hdf5plugin
import numpy as np

from tvjax.io.hdf5.chunks import pack

# How an array was packed, in types that JSON knows.
Packing: TypeAlias = Mapping[str, Any]

# Bytes below which compression is not worth its time.
SMALL = 4096


def pack_array(array: np.ndarray) -> tuple[Packing, bytes]:
    """Return how an array is packed, and the bytes."""
    array = np.asarray(array)
    squeezed = array.nbytes > SMALL and array.dtype.kind in "iuf"
    content = _squeezed(array) if squeezed else array.tobytes()
    packing = {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "squeezed": squeezed,
        "size": len(content),
    }
    return packing, content


def unpack_array(packing: Packing, content: bytes) -> np.ndarray:
    """Return the array that `pack_array` has made into bytes.

    Raises:
        ValueError: The bytes are not what the packing says.
    """
    dtype, shape = np.dtype(packing["dtype"]), tuple(packing["shape"])
    if packing["squeezed"]:
        with h5py.File("packed", "w", driver="core", backing_store=False) as file:
            images = _dataset(file, shape, dtype)
            images.id.write_direct_chunk((0,) * len(shape), content)
            return images[()]
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes are no {shape} of {dtype}")
    return np.frombuffer(content, dtype).reshape(shape).copy()


def _squeezed(array: np.ndarray) -> bytes:
    """Return an array in bitshuffle and LZ4, in which noise takes least time."""
    packed = pack(array)
    if packed is not None:
        return packed.tobytes()
    with h5py.File("packed", "w", driver="core", backing_store=False) as file:
        images = _dataset(file, array.shape, array.dtype)
        images[...] = array
        file.flush()
        return images.id.read_direct_chunk((0,) * array.ndim)[1]


def _dataset(file: h5py.File, shape: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
    """Return a dataset of one chunk."""
    return file.create_dataset(
        "array", shape, dtype, chunks=shape, **hdf5plugin.Bitshuffle(cname="lz4")
    )
