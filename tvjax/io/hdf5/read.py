"""HDF5 files as series of frames."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Num

from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.channels import (
    check_channels,
    find_channel,
    left_unread,
    split_channel,
)
from tvjax.io.hdf5.datasets import check_readable, find_images
from tvjax.io.hdf5.declared import find_declared
from tvjax.io.hdf5.growing import announced_frames, written_frames
from tvjax.io.hdf5.layout import FrameDataset, Layout
from tvjax.io.hdf5.masks import find_masks
from tvjax.io.hdf5.metadata import read_angles, read_metadata
from tvjax.io.hdf5.opening import open_file
from tvjax.io.hdf5.origins import frame_check, stored_in
from tvjax.io.hdf5.other_images import find_apart, find_others, untouched
from tvjax.io.hdf5.ownership import find_ownership
from tvjax.io.hdf5.tree import find_dataset, number_attribute, text_attribute
from tvjax.io.hdf5.unknown_types import lost_in_copies
from tvjax.io.hdf5.values import read_values
from tvjax.io.limits import check_images
from tvjax.io.series import judge_values, Series

# Attribute of an image dataset that names the program that denoised it.
DENOISED_BY = "denoised_by"

# Bytes read at once where each frame is spread over the whole dataset: enough to read
# a chunk once for many frames, little against the memory of a computer.
READ_AT_ONCE = 2**26


def open_hdf5(
    path: Path,
    dataset: str | None = None,
    *,
    partial: bool = False,
    growing: bool = False,
) -> Series:
    """Open an HDF5 file as a series.

    Args:
        path: A master with links, a data file, or any file with a stack of images.
        dataset: Path of the images in the file, where there are several stacks: a
            dataset, or the group of numbered ones.
        partial: Whether the first frames will do, where data files are missing.
        growing: Whether it may be being written, for others to read meanwhile.

    Raises:
        FileError: The file is damaged or incomplete, or holds no images, or several.
    """
    with reading(path):
        file = open_file(path, swmr=growing)
        try:
            return _open_frames(path, file, dataset, partial, growing)
        except BaseException:
            file.close()
            raise


def arrange(series: Series, axes: str) -> Series:
    """Return the series with the axes of its only dataset in the order `axes`.

    Frames that do not come first are read several at a time, as each is spread over
    the whole dataset.

    Args:
        series: Frames of an HDF5 file.
        axes: Some order of E, Y and X.

    Raises:
        FileError: The frames are not in one dataset of three axes.
    """
    layout = series.layout
    if layout is None:
        raise FileError(f"{series.names[0]} is no HDF5 file: its axes are fixed.")
    path, first = layout.path, layout.datasets[0]
    images = first.images
    if len(layout.datasets) > 1 or len(images.shape) != 3:
        raise FileError(
            f"{path} has its frames in {len(layout.datasets)} datasets of "
            f"{len(images.shape)} axes: "
            "`axes` needs one of three; choose it with --dataset."
        )
    sizes = dict(zip(axes, images.shape, strict=True))
    turned = first._replace(num_frames=sizes["E"], axes=axes)
    shape = sizes["Y"], sizes["X"]
    frame_size = shape[0] * shape[1] * images.dtype.itemsize
    step = max(1, READ_AT_ONCE // frame_size)

    def read(
        start: int, stop: int
    ) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
        for first in range(start, stop, step):
            with reading(path):
                part = turned.cut(slice(first, min(first + step, stop)), slice(None))
            yield from ((frame, "") for frame in part)

    with reading(path):
        check_images(path, f" at {first.name}", sizes["E"], shape)
        if first.check is not None:  # each frame may be in all of what is stored
            first.check(0, first.num_frames)
        ownership = find_ownership(layout.file, (turned,))
        masks = find_masks(path, layout.file, (turned,), shape, ownership)
        declared = find_declared((turned,), ownership)
        invalid_values, doubts = judge_values(str(path), read, sizes["E"], declared)
    return dataclasses.replace(
        series,
        num_frames=sizes["E"],
        shape=shape,
        read=read,
        mask=masks.valid,
        mask_of_frame=masks.of_frame,
        invalid_values=invalid_values,
        warnings=(*masks.warnings, *doubts),
        layout=dataclasses.replace(layout, datasets=(turned,)),
    )


def read_dataset(
    path: Path, name: str, *, largest: int
) -> tuple[Num[np.ndarray, "..."] | None, str]:
    """Return a dataset of an HDF5 file with its unit, as the file spells it.

    Args:
        path: The file.
        name: The path of the dataset in it.
        largest: Most axes that are read; of a dataset with more, only the unit is.

    Raises:
        FileError: The dataset is not there.
    """
    with reading(path), open_file(path) as file:
        item = find_dataset(file, name)
        if item is None:
            raise FileError(f"{path} has no dataset {name}: check the path in it.")
        values = read_values(item) if len(item.shape) <= largest else None
        return values, text_attribute(item, "units")


def _open_frames(
    path: Path, file: h5py.File, dataset: str | None, partial: bool, growing: bool
) -> Series:
    wanted, named = split_channel(file, dataset)
    chosen = find_images(path, file, wanted, partial=partial)
    numbered = chosen.parts[0][0] != chosen.name
    channel = find_channel(path, file, chosen.parts, named, numbered=numbered)
    found = []
    for name, images in chosen.parts:
        check_readable(path, images)
        if images.size == 0:
            raise FileError(
                f"{path} has no frames at {name}: choose others with --dataset."
            )
        axes = images.shape[:-2]
        if channel is not None:
            check_channels(path, name, images, channel)
            axes = images.shape[:1]
        if partial and math.prod(axes[1:]) > 1:
            raise FileError(
                f"{path} has images of {images.shape} at {name}, of which no range of "
                "frames can be taken: take all, without --frames."
            )
        holder = Path(images.file.filename)
        data_file = None if images.file == file else holder
        found.append(
            FrameDataset(
                name,
                images,
                math.prod(axes),
                data_file,
                channel=None if channel is None else channel.position,
                check=frame_check(images),
            )
        )
    datasets = tuple(found)
    kinds = {(each.images.shape[-2:], each.images.dtype) for each in datasets}
    if len(kinds) > 1:
        raise FileError(
            f"{path} mixes frames of different shapes or types ("
            + ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds, key=str))
            + "): split it, or choose a part with --dataset."
        )
    ((shape, dtype),) = kinds
    holders = {each.images.file for each in datasets}
    there = sum(each.num_frames for each in datasets)
    total = _planned(file, there, datasets[0].num_frames, chosen.missing)
    ownership = find_ownership(file, datasets, channel)
    masks = find_masks(path, file, datasets, shape, ownership)
    beside = find_others(path, file, chosen)
    others = untouched(path, chosen, beside)
    if channel is not None:
        others.append(left_unread(path, channel))
    stored = [item for each in datasets for item in stored_in(each.images)]
    by = {text_attribute(item, DENOISED_BY) for item in stored} - {""}

    def read(
        start: int, stop: int
    ) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
        if chosen.missing and stop > there:
            raise FileError(
                f"{chosen.absent} Its frames 0:{there} are there: "
                f"pass --frames with a part of 0:{there} for those."
            )
        return _read_frames(path, datasets, start, stop)

    declared = find_declared(datasets, ownership)
    seen = max(written_frames(datasets, settled=False), 1) if growing else there
    invalid_values, doubts = judge_values(str(path), read, seen, declared)
    number = number_attribute(datasets[0].images, "image_nr_low")
    number = 1.0 if number is None and numbered else number
    angles = read_angles(file, ownership, total, number)
    if angles is not None and np.isnan(angles).all():
        others.append(
            f"{path} does not tell which of its angles are those of its {total} "
            "frames: none is taken."
        )

    def close() -> None:
        for holder in (*holders, *masks.files, file):
            holder.close()

    return Series(
        num_frames=total,
        shape=shape,
        dtype=dtype,
        read=read,
        mask=masks.valid,
        mask_of_frame=masks.of_frame,
        invalid_values=invalid_values,
        metadata=read_metadata(file, ownership),
        angles=angles,
        names=(str(path),),
        files=tuple(
            dict.fromkeys((path, *(Path(item.file.filename) for item in stored)))
        ),
        kind="HDF5",
        denoised_by=by.pop() if by else None,
        warnings=(*others, *masks.warnings, *doubts, *lost_in_copies(path, file)),
        layout=Layout(
            path,
            file,
            datasets,
            chosen.missing,
            ownership.owners,
            find_apart(ownership, beside),
        ),
        close=close,
    )


def _planned(file: h5py.File, there: int, in_one: int, missing: tuple[str, ...]) -> int:
    """Return how many frames there are or should be, by what a file says of a scan.

    Without a word of it, files that are missing have as many frames as the first.
    """
    if not missing:
        return there
    planned = announced_frames(file)
    return planned if planned > there else there + len(missing) * in_one


def _read_frames(
    path: Path, datasets: tuple[FrameDataset, ...], start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
    for each in datasets:
        for index in range(max(start, 0), min(stop, each.num_frames)):
            with reading(each.data_file or path):
                image = each.read(index)
            yield image, ""
        start -= each.num_frames
        stop -= each.num_frames
