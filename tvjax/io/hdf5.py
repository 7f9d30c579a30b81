"""Where does an HDF5 file keep its frames, and how are they read?"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import hdf5plugin  # noqa: F401  registers the decompressors
import numpy as np
from jaxtyping import Bool, Num

from tvjax.io.errors import FileError, reading
from tvjax.io.marks import Marks
from tvjax.io.series import Metadata, Series

SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs")
DENOISED_BY = "denoised_by"
"""Attribute of an image dataset that names the program that denoised it."""

FRAMES_FIRST = "EYX"
"""Axes of an image dataset: frames (or energies), rows, columns."""

READ_AT_ONCE = 2**26
"""Bytes read for several frames that lie side by side in a file."""

_NUMBERED = re.compile(r"data_\d+$")  # links from a DECTRIS master to its data files
_CALIBRATION = {"pixel_mask", "flatfield", "trimbit"}
_METERS = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "micrometer": 1e-6}
_PIXELS = {"": 1.0, "pixel": 1.0, "pixels": 1.0}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "millisecond": 1e-3}
_NUMBERS = {
    "wavelength": (("incident_wavelength", "wavelength"), None),
    "distance": (("detector_distance", "distance"), _METERS),
    "exposure": (("count_time",), _SECONDS),
    "two_theta": (("two_theta",), None),
    "sensor_thickness": (("sensor_thickness",), _METERS),
    "saturation": (("saturation_value", "countrate_correction_count_cutoff"), None),
}
_TEXTS = {"detector": "detector/description", "sensor_material": "sensor_material"}
_PAIRS = {
    "pixel_size": ("y_pixel_size", "x_pixel_size", _METERS),
    "beam_center": ("beam_center_y", "beam_center_x", _PIXELS),
}


class Block(NamedTuple):
    """A dataset of consecutive frames."""

    name: str  # its path in the file that was opened
    images: h5py.Dataset
    num_frames: int
    data_file: Path | None  # the file it is linked from, if not the one opened
    axes: str = FRAMES_FIRST  # or another order of these three

    def place(self, index: int) -> tuple[int | slice, ...]:
        """Return where frame `index` lies in the dataset."""
        return place(self.images.shape, index, self.axes)

    def cut(self, frames: slice, rows: slice) -> Num[np.ndarray, "frame y x"]:
        """Return some rows of some frames of a dataset with three axes."""
        parts = {"E": frames, "Y": rows, "X": slice(None)}
        part = self.images[tuple(parts[axis] for axis in self.axes)]
        return part.transpose([self.axes.index(axis) for axis in FRAMES_FIRST])


def place(
    shape: tuple[int, ...], index: int, axes: str = FRAMES_FIRST
) -> tuple[int | slice, ...]:
    """Return where frame `index` lies in a dataset of this shape."""
    if axes == FRAMES_FIRST:  # or a raster of frames
        return (*np.unravel_index(index, shape[:-2]), slice(None), slice(None))
    return tuple(index if axis == "E" else slice(None) for axis in axes)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where an open HDF5 file keeps its frames."""

    path: Path
    file: h5py.File
    blocks: tuple[Block, ...]


def open_hdf5(path: Path, dataset: str | None = None) -> Series:
    """Open an HDF5 file as a series.

    Args:
        path: A master with links, a data file, or any file with a stack of images.
        dataset: Path of the images in the file, where there are several stacks.

    Raises:
        FileError: The file is damaged or incomplete, or holds no images, or several.
    """
    with reading(path):
        file = h5py.File(path, "r")
    try:
        return _series(path, file, dataset)
    except BaseException:
        file.close()
        raise


def arrange(series: Series, axes: str) -> Series:
    """Return the series with the axes of its only dataset in the order `axes`.

    Frames that do not come first are read several at a time, as each is spread over
    the whole dataset.

    Raises:
        FileError: The frames are not in one dataset of three axes.
    """
    path, blocks = series.layout.path, series.layout.blocks
    images = blocks[0].images
    if len(blocks) > 1 or images.ndim != 3:
        raise FileError(
            f"{path} has its frames in {len(blocks)} datasets of {images.ndim} axes: "
            "`axes` needs one of three; choose it with --dataset."
        )
    sizes = dict(zip(axes, images.shape, strict=True))
    block = blocks[0]._replace(num_frames=sizes["E"], axes=axes)
    shape = sizes["Y"], sizes["X"]
    frame_size = shape[0] * shape[1] * images.dtype.itemsize
    step = max(1, READ_AT_ONCE // frame_size)

    def read(start: int, stop: int) -> Iterator[tuple[Num[np.ndarray, "y x"], str]]:
        for first in range(start, stop, step):
            with reading(path):
                part = block.cut(slice(first, min(first + step, stop)), slice(None))
            yield from ((frame, "") for frame in part)

    return dataclasses.replace(
        series,
        num_frames=sizes["E"],
        shape=shape,
        read=read,
        mask=_declared_mask(path, series.layout.file, shape),
        marks=Marks.of(next(read(0, 1))[0]),
        layout=dataclasses.replace(series.layout, blocks=(block,)),
    )


def read_pixel_mask(path: Path) -> Num[np.ndarray, "y x"]:
    """Return the pixel mask of an HDF5 file, or its one image where it has none."""
    with reading(path), h5py.File(path, "r") as file:
        for name, item in walk(file):
            if name.endswith("/pixel_mask") and isinstance(item, h5py.Dataset):
                return _plane(item)
        return _plane(_find_images(path, file, None)[0][1])


def walk(
    group: h5py.Group, seen: set[tuple[int, int]] | None = None
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield path and object of everything below `group`, each object once.

    Links to other files are followed by one step where they lead somewhere; those to
    the images are not, since a master can have a thousand.
    """
    seen = set() if seen is None else seen
    for name in group:
        link = group.get(name, getlink=True)
        external = isinstance(link, h5py.ExternalLink)
        if isinstance(link, h5py.SoftLink) or (external and _NUMBERED.match(name)):
            continue
        try:
            item = group[name]
        except (KeyError, OSError):
            continue
        if not isinstance(item, h5py.Group | h5py.Dataset) or address(item) in seen:
            continue
        seen.add(address(item))
        yield join(group.name, name), item
        if isinstance(item, h5py.Group) and not external:
            yield from walk(item, seen)


def join(group: str, name: str) -> str:
    """Return the path of `name` in `group`."""
    return f"{group.rstrip('/')}/{name}"


def address(item: h5py.Group | h5py.Dataset) -> tuple[int, int]:
    """Return what tells an HDF5 object from all others, whatever its names."""
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def text(value: object) -> str:
    """Return an HDF5 string, however it is stored; empty if there is none."""
    if not np.size(value):
        return ""
    value = np.asarray(value).ravel()[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _series(path: Path, file: h5py.File, dataset: str | None) -> Series:
    blocks = []
    for name, images in _find_images(path, file, dataset):
        _check_readable(path, images)
        holder = Path(images.file.filename)
        data_file = None if images.file == file else holder
        blocks.append(Block(name, images, math.prod(images.shape[:-2]), data_file))
    kinds = {(block.images.shape[-2:], block.images.dtype) for block in blocks}
    if len(kinds) > 1:
        raise FileError(
            f"{path} mixes frames of different shapes or types ("
            + ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds, key=str))
            + "): split it, or choose a part with --dataset."
        )
    ((shape, dtype),) = kinds
    holders = {block.images.file for block in blocks}
    read = functools.partial(_read, path, tuple(blocks))
    mask = _declared_mask(path, file, shape)
    by = {text(block.images.attrs.get(DENOISED_BY, "")) for block in blocks} - {""}

    def close() -> None:
        for holder in (*holders, file):
            holder.close()

    return Series(
        num_frames=sum(block.num_frames for block in blocks),
        shape=shape,
        dtype=dtype,
        read=read,
        mask=mask,
        marks=Marks.of(next(read(0, 1))[0]),
        metadata=_metadata(file),
        names=(str(path),),
        files=(path, *(block.data_file for block in blocks if block.data_file)),
        kind="HDF5",
        denoised_by=by.pop() if by else None,
        layout=Layout(path, file, tuple(blocks)),
        close=close,
    )


def _read(
    path: Path, blocks: tuple[Block, ...], start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "y x"], str]]:
    for block in blocks:
        for index in range(max(start, 0), min(stop, block.num_frames)):
            with reading(block.data_file or path):
                image = block.images[block.place(index)]
            yield image, ""
        start -= block.num_frames
        stop -= block.num_frames


def _find_images(
    path: Path, file: h5py.File, dataset: str | None
) -> list[tuple[str, h5py.Dataset]]:
    """Return path and dataset of the images in the order of their frames."""
    if dataset is not None:
        return [_named(path, file, dataset)]
    for entry in file.values():
        if isinstance(entry, h5py.Group):
            for group in (entry.get("data"), entry):
                if isinstance(group, h5py.Group):
                    names = sorted(filter(_NUMBERED.match, group))
                    if names:
                        return [
                            (join(group.name, name), _follow(path, group, name))
                            for name in names
                        ]
    return [_stack(path, file)]


def _named(path: Path, file: h5py.File, dataset: str) -> tuple[str, h5py.Dataset]:
    name = "/" + dataset.strip("/")
    if name not in file or not _is_stack(name, file[name]):
        raise FileError(
            f"{path} holds no images at {name}: "
            f"choose one of {_list(_stacks(file)) or 'its datasets of two dimensions'}."
        )
    return name, file[name]


def _stack(path: Path, file: h5py.File) -> tuple[str, h5py.Dataset]:
    """Return the signal, else what is called data, else the only stack there is."""
    stacks = _stacks(file)
    signals = set(_signals(file))
    for chosen in (
        [name for name, item in stacks.items() if address(item) in signals],
        [name for name in stacks if name.endswith("/data")],
        [name for name, item in stacks.items() if item.ndim > 2],
        list(stacks),
    ):
        if len(chosen) == 1:
            return chosen[0], stacks[chosen[0]]
    if not stacks:
        raise FileError(
            f"{path} holds no images, only other data: name the file with the images."
        )
    raise FileError(
        f"{path} holds several stacks of images, {_list(stacks)}: "
        "choose one with --dataset."
    )


def _stacks(file: h5py.File) -> dict[str, h5py.Dataset]:
    return {name: item for name, item in walk(file) if _is_stack(name, item)}


def _is_stack(name: str, item: object) -> bool:
    return (
        isinstance(item, h5py.Dataset)
        and item.ndim >= 2
        and item.size > 0
        and item.dtype.kind in "uif"
        and name.rpartition("/")[2] not in _CALIBRATION
    )


def _signals(file: h5py.File) -> Iterator[tuple[int, int]]:
    """Yield the addresses of the datasets that NeXus marks as the signal."""
    for _, item in walk(file):
        if isinstance(item, h5py.Dataset) and text(item.attrs.get("signal", "")) == "1":
            yield address(item)
        if text(item.attrs.get("NX_class", "")) == "NXdata":
            signal = item.get(text(item.attrs.get("signal", "")) or "data")
            if isinstance(signal, h5py.Dataset):
                yield address(signal)


def _list(stacks: dict[str, h5py.Dataset]) -> str:
    return ", ".join(f"{name} {item.shape}" for name, item in stacks.items())


def _follow(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    """Return the dataset that a link leads to, or say what is missing."""
    try:
        return group[name]
    except (KeyError, OSError) as error:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.ExternalLink):
            raise FileError(
                f"{path} has a link {name} that leads nowhere: "
                "copy the file again from its source."
            ) from error
        _check_present(path, link.filename)
        with reading(path.parent / link.filename):
            h5py.File(path.parent / link.filename, "r").close()
        raise FileError(
            f"{path.parent / link.filename} lacks the images {link.path} that {path} "
            "expects in it: copy it again from its source."
        ) from error


def _check_present(path: Path, data_file: str) -> None:
    if not (path.parent / data_file).exists():
        raise FileError(
            f"{path} keeps its images in {data_file}, which is missing: "
            f"copy it to {path.parent.resolve()}."
        )


def _check_readable(path: Path, images: h5py.Dataset) -> None:
    """Raise `FileError` where reading would fail, or would invent what is not there."""
    creation = images.id.get_create_plist()
    for index in range(creation.get_nfilters()):
        code, _, _, name = creation.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            raise FileError(
                f"{path} is compressed with the HDF5 filter {code} ({text(name)}), "
                "which is missing: run pip install --upgrade hdf5plugin."
            )
    if images.is_virtual:
        # HDF5 fills what it does not find with zeros, without a word.
        for source in images.virtual_sources():
            if source.file_name != "." and "%" not in source.file_name:
                _check_present(Path(images.file.filename), source.file_name)


def _declared_mask(
    path: Path, file: h5py.File, shape: tuple[int, int]
) -> Bool[np.ndarray, "y x"]:
    mask = np.ones(shape, bool)
    for name, item in walk(file):
        if name.endswith("/pixel_mask") and isinstance(item, h5py.Dataset):
            if item.shape[-2:] == shape:
                with reading(path):
                    mask &= _plane(item) == 0
    if not mask.any():
        raise FileError(
            f"{path} declares every pixel invalid in its pixel_mask: "
            "correct the mask, zero is a valid pixel."
        )
    return mask


def _plane(item: h5py.Dataset) -> Num[np.ndarray, "y x"]:
    """Return the only plane of a dataset, or the first of several."""
    return item[(0,) * (item.ndim - 2)]


def _metadata(file: h5py.File) -> Metadata:
    fields: dict[str, h5py.Dataset] = {}
    for name, item in walk(file):
        if isinstance(item, h5py.Dataset) and item.size:
            *_, group, own = name.split("/")
            fields.setdefault(own, item)
            fields.setdefault(f"{group}/{own}", item)
    found: dict[str, object] = {}
    for quantity, (names, units) in _NUMBERS.items():
        numbers = (_number(fields.get(name), units) for name in names)
        found[quantity] = next((n for n in numbers if n is not None), None)
    for quantity, name in _TEXTS.items():
        found[quantity] = text(fields[name][()]) if name in fields else None
    for quantity, (*names, units) in _PAIRS.items():
        pair = tuple(_number(fields.get(name), units) for name in names)
        found[quantity] = None if None in pair else pair
    omega = fields.get("omega")
    if omega is not None and omega.dtype.kind == "f":
        angles = np.ravel(omega[()])
        found["start_angle"] = float(angles[0])
        if len(angles) > 1:
            found["angle_increment"] = float(angles[1] - angles[0])
    return Metadata(**found)


def _number(item: h5py.Dataset | None, units: dict[str, float] | None) -> float | None:
    """Return a single number, in SI units where `units` tells how to get there."""
    if item is None or item.dtype.kind not in "uif" or item.size != 1:
        return None
    number = float(np.ravel(item[()])[0])
    if units is None:
        return number
    unit = units.get(text(item.attrs.get("units", "")))
    return None if unit is None else number * unit
