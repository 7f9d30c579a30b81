"""Input files in any format, opened as a series of frames."""

import functools
import re
from collections.abc import Iterable, Iterator
from os import fspath, PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num

from tvjax.io import detectors
from tvjax.io.angles import check_angles
from tvjax.io.errors import FileError, reading
from tvjax.io.file_names import (
    check_order,
    expand,
    follow,
    frame_numbers,
    later,
    missing_numbers,
)
from tvjax.io.formats import format_of, is_hdf5, ReadableFormat
from tvjax.io.hdf5.masks import read_pixel_mask
from tvjax.io.hdf5.read import open_hdf5
from tvjax.io.limits import check_beside
from tvjax.io.series import judge_values, Series

# The input as a user names it: a file or a pattern, or several.
Paths = str | PathLike[str] | Iterable[str | PathLike[str]]


def open_series(
    paths: Paths, *, dataset: str | None = None, numbered: bool = False
) -> Series:
    """Open one HDF5 file, or one or more image files, as a series of frames.

    Args:
        paths: A path, or several in the order of their frames. `*`, `?` and `[…]` stand
            for any names, `#` for a digit; matches are taken in the order of the
            numbers in their names.
        dataset: Path of the images in an HDF5 file that holds several stacks.
        numbered: Whether a range of frames is wanted: then a single image file stands
            for itself and for the files that follow it in number, as long as there are
            any, and an HDF5 master may lack its last data files.

    Returns:
        The series, a context manager that closes its files.

    Raises:
        FileError: Something cannot be read; the message says what to do.
    """
    names = [paths] if isinstance(paths, str | PathLike) else paths
    if not isinstance(names, Iterable):
        raise ValueError(f"`paths` must be a path, or several, got {names!r}.")
    names = list(names)
    files = [file for name in names for file in expand(fspath(name))]
    if not files:
        raise FileError("No input is named: pass at least one file.")
    check_order(files)
    if is_hdf5(files[0]):
        if len(files) > 1:
            raise FileError(
                f"{files[0]} is HDF5 and not the only input: "
                "name its master alone, or several with a folder as output, -o NAME/."
            )
        return open_hdf5(files[0], dataset, partial=numbered)
    if numbered and len(files) == 1:
        files = list(follow(files[0]))
    return _open_images(
        files, tuple(fspath(name) for name in names), complete=not numbered
    )


def read_mask(
    path: str | PathLike[str], shape: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Return the mask in a file, True where a pixel is valid.

    In a file, zero is valid and any other value is bad, as in a DECTRIS pixel mask;
    only a NumPy file of booleans is a mask as tvjax has it, True where valid. An HDF5
    file gives its `pixel_mask` if it has one.

    Args:
        path: The file, in any format that is read.
        shape: Rows and columns of the frames that it is for.

    Raises:
        FileError: The mask cannot be read, has another shape, or leaves no pixel.
    """
    path = Path(path)
    with reading(path):
        values = _mask_values(path, shape)
    # only NumPy has the same booleans as the API; a bit in a file is like a number
    of_numpy = path.suffix == ".npy" and values.dtype == bool
    mask = values if of_numpy else values == 0
    if mask.shape != shape:
        raise FileError(
            f"{path} has the shape {mask.shape}, the frames {shape}: "
            "name the mask of this detector."
        )
    if not mask.any():
        raise FileError(
            f"{path} leaves no valid pixel: in a mask file zero is valid, "
            "any other value is bad."
        )
    return mask


def holds_images(path: Path) -> bool:
    """Return whether a file is an image in any format but HDF5, and no text."""
    if format_of(path) is not detectors:
        return True
    with path.open("rb") as file:
        start = file.read(512)
    # SMV and EDF images begin with text in braces.
    return start.startswith(b"{") or bool(re.search(rb"[^\t\r\n\f\x20-\xff]", start))


def _mask_values(
    path: Path, shape: tuple[int, int]
) -> Num[np.ndarray, "..."] | Bool[np.ndarray, "..."]:
    if path.suffix == ".npy":
        # which refuses a file that claims more than it has, before memory is asked for
        values = np.load(path, mmap_mode="r")
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
            raise ValueError("no array of numbers is in it")
        check_beside(path, "its mask", values.nbytes)
        return np.asarray(values)
    if is_hdf5(path):
        return read_pixel_mask(path, shape)
    source = format_of(path)
    pages = [page for page, _ in source.read(path, 0, source.describe(path).num_frames)]
    if any(not np.array_equal(page != 0, pages[0] != 0) for page in pages[1:]):
        raise FileError(
            f"{path} has {len(pages)} masks that differ: --mask takes one for all "
            "frames."
        )
    return pages[0]


def _open_images(
    files: list[Path], names: tuple[str, ...], *, complete: bool
) -> Series:
    """Open image files; `complete` says that no others belong to them."""
    source = format_of(files[0])
    with reading(files[0]):
        description = source.describe(files[0])
        first, _ = next(source.read(files[0], 0, 1))
    _check_companions(files, description.files)
    if first.ndim != 2:
        raise FileError(
            f"{files[0]} holds no image of rows and columns, but an array of "
            f"{first.shape}: convert it."
        )
    if first.dtype.kind not in "uif":
        raise FileError(
            f"{files[0]} holds no numbers: convert it to integers or floats."
        )
    one_each = description.num_frames == 1
    numbers = frame_numbers(files) if one_each else None
    step = description.metadata.angle_increment
    num_frames = description.num_frames * len(files)
    read = functools.partial(
        _read_images, source, files, description.num_frames, first.shape, first.dtype
    )
    invalid_values, doubts = judge_values(
        names[0], read, num_frames, description.declared
    )
    return Series(
        num_frames=num_frames,
        shape=first.shape,
        dtype=first.dtype,
        read=read,
        mask=np.ones(first.shape, bool),
        invalid_values=invalid_values,
        metadata=description.metadata,
        names=names,
        files=tuple(files),
        kind=source.NAME,
        denoised_by=description.denoised_by,
        numbers=numbers,
        warnings=(
            *_gaps(files, numbers, complete),
            *(check_angles(files, numbers, step) if one_each else ()),
            *doubts,
        ),
    )


def _check_companions(files: list[Path], wanted: tuple[str, ...]) -> None:
    """Refuse a part of an image that lies in several files, or these in another order.

    Args:
        files: The files that were named.
        wanted: The names of the files by the first of them; empty for itself alone.
    """
    if not wanted or [file.name for file in files] == [*wanted]:
        return
    raise FileError(
        f"{files[0]} has images in several files, {', '.join(wanted)}: name all of "
        "them in this order."
    )


def _gaps(
    files: list[Path], numbers: tuple[int, ...] | None, complete: bool
) -> Iterator[str]:
    """Yield a sentence for each break in the numbers of a series."""
    if numbers is not None and (missing := missing_numbers(numbers)):
        yield (
            f"{files[0].name} to {files[-1].name}: missing are {missing}; "
            "the other frames keep their places in angle and name."
        )
    if not complete and (others := later(files[-1])):
        yield (
            f"{others[0].name} and what follows it is left out, since numbers behind "
            f"{files[-1].name} are missing: name all files, or a pattern."
        )


def _read_images(
    source: ReadableFormat,
    files: list[Path],
    pages: int,
    shape: tuple[int, int],
    dtype: np.dtype,
    start: int,
    stop: int,
) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
    """Yield the frames of files with `pages` frames each."""
    for number in range(start // pages, -(-stop // pages)):
        path = files[number]
        first = number * pages
        frames = source.read(path, max(start - first, 0), min(stop - first, pages))
        for _ in range(max(start, first), min(stop, first + pages)):
            with reading(path):
                image, header = next(frames)
            if image.shape != shape or image.dtype != dtype:
                raise FileError(
                    f"{path} has frames of {image.shape} {image.dtype}, {files[0]} of "
                    f"{shape} {dtype}: a series needs frames of one shape and type."
                )
            yield image, header
