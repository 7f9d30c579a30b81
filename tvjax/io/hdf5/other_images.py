"""The images of an HDF5 file beside those that are read, and what belongs to them."""

import re
from collections.abc import Sequence
from pathlib import Path

import h5py

from tvjax.io.hdf5.datasets import Images, shown_images
from tvjax.io.hdf5.masks import ANY_MASK
from tvjax.io.hdf5.origins import origins
from tvjax.io.hdf5.ownership import Ownership
from tvjax.io.hdf5.tree import Address, address

# Names of what describes images: those without a sample or light, errors, gains.
_OF_IMAGES = re.compile(
    r"(^|_)(white|flat|bright|dark|background|bg|err|var|std|sigma|weight|gain|offset"
    r"|pedestal)",
    re.IGNORECASE,
)


def find_others(path: Path, file: h5py.File, chosen: Images) -> list[Images]:
    """Return the images that a file shows beside the chosen ones.

    Args:
        path: The name of the file, for sentences about it.
        file: The same, open.
        chosen: The images that are read.
    """
    known = {*chosen.origins()} | {address(item) for _, item in chosen.parts}
    found = []
    for other in shown_images(path, file):
        own = other.name.rpartition("/")[2]
        if not other.stacked or _OF_IMAGES.search(own) or ANY_MASK.search(own):
            continue
        parts = []
        for name, item in other.parts:
            places = {*origins(item), address(item)}
            if known.isdisjoint(places):
                known |= places
                parts.append((name, item))
        if parts:
            found.append(Images(parts[0][0] if len(parts) == 1 else other.name, parts))
    return found


def untouched(path: Path, others: Sequence[Images]) -> list[str]:
    """Return a sentence on the images that are not read, none where there are none.

    Args:
        path: The name of the file.
        others: The images.
    """
    if not others:
        return []
    names = ", ".join(each.text for each in others)
    return [
        f"{path} has other images, {names}, which are not read: HDF5 output has them "
        "as they are, not denoised; denoise them by a run of their own, with --dataset."
    ]


def find_apart(ownership: Ownership, others: Sequence[Images]) -> frozenset[Address]:
    """Return the addresses of what belongs to other images than those that are read.

    These are the other images themselves, and what lies in their detectors and entries.

    Args:
        ownership: What of the file belongs to the images that are read.
        others: The others.
    """
    images = {address(item) for each in others for _, item in each.parts}
    names = [name for each in others for name, _ in each.parts]
    entries = {name.split("/")[1] for name in names}
    entries -= {place.split("/")[1] for place in ownership.places}
    owners = {
        each.owner
        for each in ownership.named
        if each.of_detector and address(each.item) in images
    }
    owners -= ownership.owners
    apart, own = images, set()
    for each in ownership.named:
        of_others = each.owner in owners or each.path.split("/")[1] in entries
        place = address(each.item)
        if of_others:
            apart |= {place, each.owner}
        elif place not in images:
            own.add(place)
    return frozenset(apart - own - ownership.owners)
