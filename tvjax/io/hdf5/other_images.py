"""The images of an HDF5 file beside those that are read, and what belongs to them."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py

from tvjax.io.hdf5.datasets import Images, shown_images
from tvjax.io.hdf5.masks import ANY_MASK
from tvjax.io.hdf5.origins import origins, stored_in
from tvjax.io.hdf5.ownership import Ownership
from tvjax.io.hdf5.tree import Address, address, path_of

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


def untouched(path: Path, chosen: Images, others: Sequence[Images]) -> list[str]:
    """Return a sentence on each kind of images that stay as they are in an output.

    Args:
        path: The name of the file.
        chosen: The images that are read.
        others: The others.
    """
    places = {address(item) for _, item in chosen.parts}
    sentences = []
    mixed = [each for each in others if not places.isdisjoint(_stored(each))]
    if mixed:
        sentences.append(
            f"{path} shows these images beside others in {_names(mixed)}: HDF5 output "
            "shows denoised ones beside raw ones there."
        )
    if apart := [each for each in others if each not in mixed]:
        sentences.append(
            f"{path} has other images, {_names(apart)}, which are not read: HDF5 "
            "output has them as they are, not denoised; denoise them by a run of "
            "their own, with --dataset."
        )
    if panels := sorted(_panels(chosen)):
        sentences.append(
            f"{path} assembles its images of {', '.join(panels)}: HDF5 output has "
            "these as they are, not denoised."
        )
    return sentences


def _names(found: Sequence[Images]) -> str:
    return ", ".join(each.text for each in found)


def _stored(images: Images) -> set[Address]:
    """Return the datasets that images are read from."""
    return {address(each) for _, item in images.parts for each in stored_in(item)}


def _panels(images: Images) -> Iterator[str]:
    """Yield the paths in the same file of what images are assembled of."""
    for _, item in images.parts:
        if item.is_virtual and (*address(item), 0) in origins(item)[:1]:
            for each in stored_in(item):
                if each != item and each.file == item.file:
                    yield path_of(each)


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
