"""The masks of an HDF5 file that belong to its images."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Num

from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.datasets import find_images
from tvjax.io.hdf5.layout import FrameDataset, FRAMES_FIRST, place_of_frame
from tvjax.io.hdf5.mask_bits import told_by_bits, valid_by_bits
from tvjax.io.hdf5.opening import open_file
from tvjax.io.hdf5.ownership import Named, Ownership, walk_names
from tvjax.io.hdf5.tree import (
    address,
    find_item,
    join,
    names_in,
    path_of,
    text_attribute,
    walk,
)
from tvjax.io.hdf5.values import read_values
from tvjax.io.series import warn_if_scarce

# Names of masks as NeXus has them, also numbered.
PIXEL_MASK = re.compile(r"pixel_mask(_\d+)?$")

# Names of what is likely to be a mask.
ANY_MASK = re.compile(
    r"(^|_)masks?($|[_\d])|pixelmask|(bad|dead|hot)_?pix", re.IGNORECASE
)


class DeclaredMask(NamedTuple):
    """What the masks of a file say of its frames.

    Attributes:
        valid: True where no mask for all frames tells of a fault.
        of_frame: The same of the masks of single frames; None where there are none.
        warnings: Sentences on masks that were not used, or that remove much.
        files: Files that masks of single frames are read from.
    """

    valid: Bool[np.ndarray, "height width"]
    of_frame: Callable[[int], Bool[np.ndarray, "height width"]] | None
    warnings: tuple[str, ...]
    files: frozenset[h5py.File]


class _Part(NamedTuple):
    """A mask of some consecutive frames, plane by plane."""

    mask: Named
    first: int  # number of the first of these frames
    images: tuple[int, ...]  # axes of these frames before rows and columns
    planes: tuple[int, ...]  # axes of the mask before rows and columns
    axes: str  # order of the axes
    channels: tuple[int, int] | None = None  # which of how many images a frame

    @property
    def num_frames(self) -> int:
        return math.prod(self.images)

    def fits(self, shape: tuple[int, int]) -> bool:
        """Return whether the mask has a plane for each frame, of this shape."""
        return _plane_shape(self.mask.item.shape, self.axes) == shape and (
            self._index(0) is not None
        )

    def valid(self, index: int) -> Bool[np.ndarray, "height width"]:
        """Return True where the mask of a frame of the series tells of no fault."""
        return valid_by_bits(self.mask.item, self.mask.path, self.plane(index))

    def plane(
        self, index: int
    ) -> Num[np.ndarray, "height width"] | Bool[np.ndarray, "height width"]:
        """Return the mask of a frame of the series."""
        place = self._index(index - self.first) or ()
        item = self.mask.item
        if self.planes and self.axes != FRAMES_FIRST:
            plane = read_values(item, place_of_frame(item.shape, index, self.axes))
        else:
            # axes of length one, which no frame needs
            leading = (0,) * (len(item.shape) - 2 - len(place))
            plane = read_values(item, (*leading, *place))
        turned = self.axes.index("X") < self.axes.index("Y")
        return plane.T if turned else plane

    def _index(self, frame: int) -> tuple[int, ...] | None:
        """Return the place of the plane of a frame, None where there is none."""
        place = tuple(int(i) for i in np.unravel_index(frame, self.images))
        number = len(self.planes)
        if not number:
            return ()
        if self.channels is not None and self.planes[-1] == self.channels[1]:
            place = (*place, self.channels[0])
            every = (*self.images, self.channels[1])
            return place[-number:] if self.planes == every[-number:] else None
        if self.planes == self.images[-number:]:
            return place[-number:]
        if self.planes == self.images[:number]:
            return place[:number]
        return (frame,) if self.planes == (self.num_frames,) else None


def find_masks(
    path: Path,
    file: h5py.File,
    datasets: tuple[FrameDataset, ...],
    shape: tuple[int, int],
    ownership: Ownership,
) -> DeclaredMask:
    """Return what the masks of a file say of the frames in `datasets`.

    A mask is what NeXus calls `pixel_mask`, of the detector whose images these are, and
    what lies beside the images as `mask`, `NAME_mask` or under the name that an
    attribute `mask` tells. Zero is a valid pixel in all, and so is one with no other
    bits than those that tell of no fault.

    Args:
        path: The name of the file, for sentences about it.
        file: The same, open.
        datasets: The datasets of the frames.
        shape: Rows and columns of a frame.
        ownership: What of the file belongs to the frames.

    Raises:
        FileError: A mask is damaged, or leaves no pixel.
    """
    candidates = [
        each
        for each in ownership.named
        if _may_be_mask(each.item)
        and ANY_MASK.search(each.name)
        and not any(each.item == images.images for images in datasets)
    ]
    own = ownership.own([c for c in candidates if PIXEL_MASK.match(c.name)])
    parts = [*_stated(datasets, ownership), *(_of_all(each, datasets) for each in own)]
    unfit = [part for part in parts if not part.fits(shape)]
    used = [part for part in parts if part.fits(shape)]
    warnings = list(_broken(path, file))
    rivals = [part.mask for part in used if part.mask in own]
    if len({each.owner for each in rivals}) > 1 and not _alike(path, rivals):
        names = ", ".join(sorted(each.path for each in rivals))
        warnings.append(
            f"{path} has masks of several detectors, {names}, and does not tell which "
            "of them its images are from: none was used; pass the right one by --mask."
        )
        used = [part for part in used if part.mask not in rivals]
        candidates = [each for each in candidates if each not in rivals]
    warnings += _unused(path, shape, candidates, used, unfit)
    valid, single = np.ones(shape, bool), []
    num_frames = sum(each.num_frames for each in datasets)
    for part in used:
        if part.planes or part.num_frames < num_frames:
            single.append(part)
        else:
            with reading(path):
                valid &= part.valid(part.first)
    warnings += _harmless(path, used)
    if not valid.any():
        names = ", ".join(dict.fromkeys(part.mask.name for part in used))
        raise FileError(
            f"{path} declares every pixel invalid in its {names}: "
            "correct the mask, zero is a valid pixel."
        )
    of_frame = _frame_reader(path, single, shape) if single else None
    if used:
        names = ", ".join(dict.fromkeys(part.mask.path for part in used))
        first = valid & of_frame(0) if of_frame else valid
        warnings += warn_if_scarce(f"{names} in {path}", first)
    return DeclaredMask(
        valid, of_frame, tuple(warnings), frozenset(p.mask.item.file for p in single)
    )


def read_pixel_mask(
    path: Path, shape: tuple[int, int]
) -> Num[np.ndarray, "height width"] | Bool[np.ndarray, "height width"]:
    """Return the mask in an HDF5 file of masks: zero is valid.

    It is the `pixel_mask`, else what has `mask` in its name, else the one image.

    Args:
        path: The file.
        shape: Rows and columns, by which one of several is chosen.

    Raises:
        FileError: There is none, or there are several that differ.
    """
    with reading(path), open_file(path) as file:
        named = [n for n in walk_names(file) if len(n.item.shape) >= 2]
        for pattern in (PIXEL_MASK, ANY_MASK):
            found = [n for n in named if pattern.search(n.name)]
            found = [n for n in found if n.item.shape[-2:] == shape] or found
            if found:
                if not _alike(path, found):
                    raise FileError(
                        f"{path} has several masks that differ, "
                        f"{', '.join(n.path for n in found)}: keep one in the file."
                    )
                return _only_plane(path, found[0].path, found[0].item)
        name, images = find_images(path, file, None, smallest=1).parts[0]
        return _only_plane(path, name, images)


def _only_plane(
    path: Path, name: str, item: h5py.Dataset
) -> Num[np.ndarray, "height width"] | Bool[np.ndarray, "height width"]:
    """Return the plane that all of a mask are alike.

    Raises:
        FileError: They differ.
    """
    planes = np.reshape(read_values(item), (-1, *item.shape[-2:]))
    if np.any((planes != 0) != (planes[:1] != 0)):
        raise FileError(
            f"{path} has {len(planes)} masks in {name} that differ: "
            "--mask takes one for all frames."
        )
    return planes[0]


def _plane_shape(shape: tuple[int, ...], axes: str) -> tuple[int, int]:
    """Return rows and columns of a mask whose axes are ordered as in `axes`."""
    if len(shape) == len(axes) and axes != FRAMES_FIRST:
        sizes = dict(zip(axes, shape, strict=True))
        return sizes["Y"], sizes["X"]
    turned = axes.index("X") < axes.index("Y")
    return (shape[-1], shape[-2]) if turned else (shape[-2], shape[-1])


def _of_all(mask: Named, datasets: Sequence[FrameDataset]) -> _Part:
    """Return a mask as that of the frames of all datasets."""
    first = datasets[0]
    total = sum(each.num_frames for each in datasets)
    whole = first.axes == FRAMES_FIRST and len(datasets) == 1
    return _part(mask, 0, first.shape[:-2] if whole else (total,), first)


def _part(
    mask: Named, first: int, images: tuple[int, ...], like: FrameDataset
) -> _Part:
    """Return a mask of frames with the axes `images`, in a dataset such as `like`."""
    shape, axes = mask.item.shape, like.axes
    if len(shape) > 2 and shape != like.images.shape:
        axes = FRAMES_FIRST  # of its own, whatever the images have
    planes = (shape[axes.index("E")],) if axes != FRAMES_FIRST else shape[:-2]
    if len(shape) == 2:
        planes = ()
    while planes and planes[0] == 1:
        planes = planes[1:]
    channels = None
    if like.channel is not None:
        channels = like.channel, like.images.shape[1]
    return _Part(mask, first, images, planes, axes, channels)


def _stated(datasets: Sequence[FrameDataset], ownership: Ownership) -> Iterator[_Part]:
    """Yield the masks beside the images, each for the frames that it lies beside."""
    seen = set()
    images = [each.images for each in datasets]
    names = [each.name.rpartition("/")[2] for each in datasets]
    for group in ownership.groups:
        for mask in _beside(group, images, names):
            if address(mask.item) not in seen:
                seen.add(address(mask.item))
                yield _of_all(mask, datasets)
    starts = np.cumsum([0, *(each.num_frames for each in datasets)]).tolist()
    for first, each in zip(starts, datasets, strict=False):
        if each.data_file:
            place, _, name = path_of(each.images).rpartition("/")
            # the name can be one by which only the master reaches the images
            group = find_item(each.images.file, place or "/")
            if not isinstance(group, h5py.Group):
                continue
            for mask in _beside(group, [each.images], [name]):
                if address(mask.item) not in seen:
                    seen.add(address(mask.item))
                    yield _part(mask, first, each.shape[:-2], each)


def _beside(
    group: h5py.Group, images: Sequence[h5py.Dataset], names: Sequence[str]
) -> Iterator[Named]:
    """Yield the masks of some images in one group."""
    told = {text_attribute(each, "mask") for each in (group, *images)}
    for name in sorted({"mask", *(f"{name}_mask" for name in names), *told} - {""}):
        item = find_item(group, name)
        if isinstance(item, h5py.Dataset) and _may_be_mask(item):
            here = address(group)
            yield Named(join(path_of(group), name), item, here, here, False)


def _may_be_mask(item: h5py.Dataset) -> bool:
    """Return whether a dataset has rows and columns of numbers."""
    return len(item.shape or ()) >= 2 and item.size != 0 and item.dtype.kind in "buif"


def _alike(path: Path, masks: Sequence[Named]) -> bool:
    """Return whether masks say the same of every pixel."""
    distinct = {address(each.item): each.item for each in masks}
    if len(distinct) < 2:
        return True
    if len({item.shape for item in distinct.values()}) > 1:
        return False
    with reading(path):
        first, *others = (read_values(item) != 0 for item in distinct.values())
        return all(np.array_equal(first, other) for other in others)


def _frame_reader(
    path: Path, parts: Sequence[_Part], shape: tuple[int, int]
) -> Callable[[int], Bool[np.ndarray, "height width"]]:
    """Return what reads the mask of one frame."""

    def of_frame(index: int) -> Bool[np.ndarray, "height width"]:
        valid = np.ones(shape, bool)
        for part in parts:
            if part.first <= index < part.first + part.num_frames:
                with reading(path):
                    valid &= part.valid(index)
        return valid

    return of_frame


def _harmless(path: Path, parts: Sequence[_Part]) -> Iterator[str]:
    """Yield a sentence for each mask with bits that tell of no fault."""
    for mask, part in {part.mask: part for part in reversed(parts)}.items():
        with reading(path):
            told = told_by_bits(mask.item, mask.path, part.plane(part.first))
        if told:
            yield f"{path} has a mask {mask.path} that {told}."


def _broken(path: Path, group: h5py.Group) -> Iterator[str]:
    """Yield a sentence for each mask that is a link that leads nowhere."""
    for place, item in walk(group):
        if isinstance(item, h5py.Group):
            for name in names_in(item):
                if PIXEL_MASK.match(name) and find_item(item, name) is None:
                    yield (
                        f"{path} has a link {join(place, name)} that leads nowhere: "
                        "copy what it leads to beside it, or pass the mask by --mask."
                    )


def _unused(
    path: Path,
    shape: tuple[int, int],
    candidates: Sequence[Named],
    used: Sequence[_Part],
    unfit: Sequence[_Part],
) -> Iterator[str]:
    """Yield a sentence for each mask that could be meant and was not used."""
    known = {address(part.mask.item) for part in (*used, *unfit)}
    owners = {part.mask.owner for part in used}
    if owners:
        # One of another shape is of another detector.
        unfit = [part for part in unfit if part.mask.owner in owners]
    for part in unfit:
        yield (
            f"{path} has a mask {part.mask.path} of the shape {part.mask.item.shape}, "
            f"which does not fit the frames of {shape}: it was not used; cut it to "
            "these frames and pass it by --mask."
        )
    left = [
        each
        for each in candidates
        if address(each.item) not in known
        and (each.item.shape[-2:] == shape or PIXEL_MASK.match(each.name))
    ]
    if any(PIXEL_MASK.match(part.mask.name) for part in used):
        # That of another detector is of no concern where this one has its own.
        left = [c for c in left if not PIXEL_MASK.match(c.name)]
    for place in {address(c.item): c.path for c in left}.values():
        yield (
            f"{path} has {place}, which may be a mask of these frames and was not "
            "used: if it is one, save it in a file and pass that by --mask."
        )
