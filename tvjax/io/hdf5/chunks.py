"""Frames of HDF5 that are compressed while HDF5 does something else.

HDF5 lets no other thread read, write or compute while it compresses. Bitshuffle's own
functions do: they make the same bytes, which are stored as they are.
"""

import ctypes
import functools
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from jaxtyping import Num, UInt8

from tvjax.io.hdf5.layout import FRAMES_FIRST, place_of_frame

# The number of bitshuffle among the filters of HDF5, and that of LZ4 in bitshuffle.
_BITSHUFFLE, _LZ4 = 32008, 2

# Types of the numbers before the blocks of a chunk: the bytes of its content, and those
# of a block.
_HEADER = ">u8", ">u4"


class ImageWriter:
    """Writes frames to their places in one dataset."""

    def __init__(self, images: h5py.Dataset, axes: str = FRAMES_FIRST) -> None:
        """Write to `images`, whose axes are in this order."""
        self._images = images
        self._axes = axes
        self._shape = images.shape
        self._dtype = images.dtype
        self._turned = axes.index("X") < axes.index("Y")
        self._is_chunk = _are_chunks(images, place_of_frame(images.shape, 0, axes))

    def write(self, index: int, stored: Num[np.ndarray, "height width"]) -> None:
        """Write the frame that has the position `index` in the dataset."""
        place = place_of_frame(self._shape, index, self._axes)
        stored = stored.T if self._turned else stored
        same = self._is_chunk and stored.dtype == self._dtype
        packed = pack(stored) if same else None
        if packed is None:
            self._images[place] = stored
        else:
            corner = tuple(0 if isinstance(part, slice) else part for part in place)
            self._images.id.write_direct_chunk(corner, packed)


def pack(content: Num[np.ndarray, "..."]) -> UInt8[np.ndarray, " byte"] | None:
    """Return what bitshuffle with LZ4 makes of a chunk, None where only HDF5 has it."""
    library = _library()
    if library is None:
        return None
    content = np.ascontiguousarray(content)
    size, item = content.size, content.itemsize
    block = library.bshuf_default_block_size(item)
    numbers = zip((content.nbytes, block * item), _HEADER, strict=True)
    header = b"".join(np.array(number, kind).tobytes() for number, kind in numbers)
    most = library.bshuf_compress_lz4_bound(size, item, block)
    packed = np.empty(len(header) + most, np.uint8)
    packed[: len(header)] = np.frombuffer(header, np.uint8)
    blocks = packed[len(header) :]
    taken = library.bshuf_compress_lz4(
        content.ctypes.data, blocks.ctypes.data, size, item, block
    )
    return packed[: len(header) + taken] if taken >= 0 else None


def _are_chunks(images: h5py.Dataset, place: tuple[int | slice, ...]) -> bool:
    """Return whether frames are chunks, compressed by bitshuffle with LZ4 alone."""
    frame = tuple(
        size if isinstance(part, slice) else 1
        for part, size in zip(place, images.shape, strict=True)
    )
    created = images.id.get_create_plist()
    if images.chunks != frame or created.get_nfilters() != 1:
        return False
    code, _, values, _ = created.get_filter(0)
    # after the version: bytes of a value, values of a block (0 for the usual), codec
    kind = (images.dtype.itemsize, 0, _LZ4)
    return code == _BITSHUFFLE and values[2:] == kind


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return the library of the filter, with the types of the functions called here."""
    file = hdf5plugin.get_config().registered_filters.get("bshuf", "")
    if not Path(file).is_file():
        return None  # another program has registered the filter
    try:
        library = ctypes.CDLL(file)
        sizes = [ctypes.c_size_t] * 3
        library.bshuf_default_block_size.argtypes = sizes[:1]
        library.bshuf_default_block_size.restype = ctypes.c_size_t
        library.bshuf_compress_lz4_bound.argtypes = sizes
        library.bshuf_compress_lz4_bound.restype = ctypes.c_size_t
        library.bshuf_compress_lz4.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *sizes]
        library.bshuf_compress_lz4.restype = ctypes.c_int64
    except (OSError, AttributeError):
        return None  # a build that keeps them to itself
    return library
