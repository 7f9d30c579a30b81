"""What the bits of a mask mean, by the standard that its file follows.

In a CXI file some tell how a pixel was treated or where it lies, and its value is a
reading: only those that tell of a fault make a pixel invalid. Elsewhere all do, also
the upper half of a `pixel_mask`: a virtual pixel of NeXus has measured nothing.
"""

import re
from collections.abc import Mapping

import h5py
import numpy as np
from jaxtyping import Bool, Num, UInt64

from tvjax.io.hdf5.tree import find_item, path_of

# Bits of a mask in a CXI file that are no fault. Of 0x400 some programs say noisy and
# others in a halo, so that it remains a fault.
_CXI = {
    0x20: "in the peak mask",
    0x100: "out of the resolution limits",
    0x800: "artifact corrected",
    0x1000: "has signal",
    0x2000: "peak for the hit finder",
    0x4000: "photon background corrected",
}

_NUMBERED_ENTRY = re.compile(r"/entry_\d+/")


def valid_by_bits(
    item: h5py.Dataset,
    path: str,
    plane: Num[np.ndarray, "*shape"] | Bool[np.ndarray, "*shape"],
) -> Bool[np.ndarray, "*shape"]:
    """Return True where a part of a mask has no bit that tells of a fault.

    Args:
        item: The mask.
        path: The path by which it was reached.
        plane: What was read of it.
    """
    harmless = _harmless(item, path)
    if not harmless:
        return plane == 0
    bits = _bits(plane)
    return bits & ~np.uint64(sum(harmless)) == 0


def told_by_bits(
    item: h5py.Dataset,
    path: str,
    plane: Num[np.ndarray, "*shape"] | Bool[np.ndarray, "*shape"],
) -> str:
    """Return a clause on the bits that are no fault; empty where a mask has none.

    Args:
        item: The mask.
        path: The path by which it was reached.
        plane: What was read of it.
    """
    harmless = _harmless(item, path)
    if not harmless:
        return ""
    bits = _bits(plane)
    found = [
        f"{bit:#x} ({name})"
        for bit, name in harmless.items()
        if np.any(bits & np.uint64(bit))
    ]
    if not found:
        return ""
    every = np.uint64(np.bitwise_or.reduce(bits, axis=None))
    faults = every & ~np.uint64(sum(harmless))
    taken = f"only {int(faults):#x} were taken" if faults else "none was taken"
    kept = np.mean((bits != 0) & valid_by_bits(item, path, plane))
    return (
        f"has bits that tell of no fault, {', '.join(found)}: {taken}, and {kept:.1%} "
        "of the pixels stay valid in spite of theirs; pass a mask of them by --mask "
        "to remove them"
    )


def _harmless(item: h5py.Dataset, path: str) -> Mapping[int, str]:
    """Return the bits of a mask that tell of no fault, with what they tell."""
    own = path.rpartition("/")[2]
    if item.dtype.kind not in "ui" or own.startswith("pixel_mask"):
        return {}
    cxi = _NUMBERED_ENTRY.match(path) or find_item(item.file, "cxi_version") is not None
    if not cxi or _is_of_xfel(item):
        return {}
    return _CXI


def _is_of_xfel(item: h5py.Dataset) -> bool:
    """Return whether a mask shows one of the European XFEL, whose bits are all faults.

    Its files name their groups so; CXI files that are made of them show their masks.
    """
    if path_of(item).startswith("/INSTRUMENT/"):
        return True
    return item.is_virtual and any(
        source.dset_name.lstrip("/").startswith("INSTRUMENT/")
        for source in item.virtual_sources()
    )


def _bits(plane: Num[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Return the values as numbers without a sign, with the same bits."""
    size = plane.dtype.itemsize
    return plane.astype(f"i{size}").view(f"u{size}").astype(np.uint64)
