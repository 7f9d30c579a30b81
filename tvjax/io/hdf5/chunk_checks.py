"""The chunks of HDF5 datasets, looked at before a filter unpacks them.

Filters trust what a chunk says of itself: HDF5 crashes where one gives less than a
chunk, or invents what is missing, and a few bytes can claim all memory there is.
"""

import bz2
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import h5py
from h5py.h5d import StoreInfo

# Codes of filters, as HDF5 registers them.
_DEFLATE, _SHUFFLE, _FLETCHER, _SZIP, _NBIT, _SCALE = 1, 2, 3, 4, 5, 6
_BZIP2, _LZF, _BLOSC, _LZ4, _BITSHUFFLE, _ZSTD = 307, 32000, 32001, 32004, 32008, 32015

# Bytes of a chunk that a filter looks at first.
_HEAD = 32

# Where a rectangle of a dataset is.
Place = tuple[int | slice, ...]


class _Filter(NamedTuple):
    """A filter of a dataset, and its parameters."""

    code: int
    numbers: tuple[int, ...]

    def number(self, place: int) -> int:
        """Return a parameter, 0 where there is none."""
        return self.numbers[place] if place < len(self.numbers) else 0


def check_chunks(item: h5py.Dataset, place: Place = ()) -> None:
    """Raise `ValueError` if a chunk would unpack to another size than it has.

    Args:
        item: A dataset.
        place: Numbers or slices along the first axes; all of the others is meant.
    """
    if item.chunks is None or item.is_virtual or not item.size:
        return
    if item.dtype.hasobject:
        return  # texts and lists lie elsewhere, and are not packed
    filters = _filters(item)
    size = item.id.get_type().get_size()  # in the file
    for length in item.chunks:
        size *= length
    _check_parameters(filters, size)
    descriptor = item.file.id.get_vfd_handle()
    for info in _stored(item, place):
        used = [f for n, f in enumerate(filters) if not info.filter_mask >> n & 1]
        _check_chunk(descriptor, info, used, size)


def _filters(item: h5py.Dataset) -> list[_Filter]:
    creation = item.id.get_create_plist()
    found = [creation.get_filter(n) for n in range(creation.get_nfilters())]
    return [_Filter(code, tuple(numbers)) for code, _, numbers, _ in found]


def _check_parameters(filters: Sequence[_Filter], size: int) -> None:
    """Refuse parameters that a filter divides by, or allocates."""
    for each in filters:
        if each.code == _BITSHUFFLE and not each.number(2):
            raise ValueError("bitshuffle of elements without a size")
        if each.code == _SHUFFLE and not each.number(0):
            raise ValueError("shuffle of elements without a size")
        if each.code in (_NBIT, _SCALE) and each.number(2) * each.number(4) != size:
            raise ValueError("a filter for chunks of another size")


def _stored(item: h5py.Dataset, place: Place) -> Iterator[StoreInfo]:
    """Yield what is known of each chunk that is written and read at `place`."""
    if not place:
        found: list[StoreInfo] = []
        item.id.chunk_iter(found.append)
        yield from found
        return
    parts = (*place, *(slice(None),) * (len(item.shape) - len(place)))
    axes = []
    for part, length, size in zip(parts, item.shape, item.chunks or (), strict=True):
        if isinstance(part, slice):
            first, last, _ = part.indices(length)
        else:
            first, last = part, part + 1
        axes.append(range(first // size * size, last, size))
    for corner in product(*axes):
        info = item.id.get_chunk_info_by_coord(corner)
        if info.byte_offset is not None and info.size:
            yield info


def _check_chunk(
    descriptor: int, info: StoreInfo, filters: Sequence[_Filter], size: int
) -> None:
    """Refuse a chunk that does not unpack to `size` bytes."""
    checked = sum(each.code == _FLETCHER for each in filters)
    packing = [f for f in filters if f.code not in (_SHUFFLE, _FLETCHER)]
    packing = [f for f in packing if f.code != _BITSHUFFLE or f.number(4)]
    held = info.size - 4 * checked
    if held > 1.25 * size + 4096:
        raise ValueError(f"a chunk of {size} bytes takes {held}")
    if not packing:
        if held != size:
            raise ValueError(f"a chunk has {held} of {size} bytes")
        return
    if len(packing) > 1:
        return  # what lies between two of them has no size of its own
    find = _UNPACKED.get(packing[0].code)
    if find is None:
        return
    whole = packing[0].code in (_DEFLATE, _BZIP2, _LZF)
    content = os.pread(descriptor, held if whole else _HEAD, info.byte_offset)
    found = find(content, size)
    if found is not None and found != size:
        raise ValueError(f"a chunk of {size} bytes unpacks to another size")


def _big(content: bytes, first: int, last: int) -> int:
    return int.from_bytes(content[first:last], "big")


def _little(content: bytes, first: int, last: int) -> int:
    return int.from_bytes(content[first:last], "little")


def _of_deflate(content: bytes, size: int) -> int:
    return len(zlib.decompressobj().decompress(content, size + 1))


def _of_bzip2(content: bytes, size: int) -> int:
    return len(bz2.BZ2Decompressor().decompress(content, size + 1))


def _of_lzf(content: bytes, size: int) -> int:
    """Return the length of what LZF unpacks: runs of bytes, and copies of earlier."""
    place = found = 0
    while place < len(content) and found <= size:
        code = content[place]
        if code < 32:
            place += code + 2
            found += code + 1
        else:
            length = code >> 5
            if length == 7:
                place += 1
                length += content[place] if place < len(content) else 0
            place += 2
            found += length + 2
    return found


def _of_zstd(content: bytes, size: int) -> int | None:
    """Return what the header of the first frame says, None if it says nothing."""
    if content[:4] != b"\x28\xb5\x2f\xfd":
        return 0
    code = content[4] if len(content) > 4 else 0
    single = code >> 5 & 1
    first = 5 + (not single) + (0, 1, 2, 4)[code & 3]
    length = (single, 2, 4, 8)[code >> 6]
    found = _little(content, first, first + length) + 256 * (length == 2)
    return found if length else None


# What unpacks to how many bytes, by the beginning of a chunk; by all of it where the
# beginning does not tell.
_UNPACKED: dict[int, Callable[[bytes, int], int | None]] = {
    _DEFLATE: _of_deflate,
    _BZIP2: _of_bzip2,
    _LZF: _of_lzf,
    _ZSTD: _of_zstd,
    _SZIP: lambda content, size: _little(content, 0, 4),
    _BLOSC: lambda content, size: _little(content, 4, 8),
    _LZ4: lambda content, size: _big(content, 0, 8) if _big(content, 8, 12) else 0,
    _BITSHUFFLE: lambda content, size: _big(content, 0, 8),
}
