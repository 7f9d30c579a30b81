"""How does any input become a series of frames?"""

import functools
import glob
import re
from collections.abc import Iterable, Iterator
from itertools import count
from os import fspath, PathLike
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
from jaxtyping import Bool, Num

from tvjax.io import cbf, detectors, tiff
from tvjax.io.compressed import open_binary
from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5 import read as hdf5
from tvjax.io.invalid_values import Marks
from tvjax.io.series import Series

Paths = str | PathLike[str] | Iterable[str | PathLike[str]]

# The last number before the extension, or instead of one as in scan.0001.
_FRAME_NUMBER = re.compile(
    r"(?P<start>.*?)(?P<number>\d+)(?P<end>\D*?(\.[A-Za-z]\w*)?(\.gz|\.bz2)?)$"
)


def open_series(
    paths: Paths, *, dataset: str | None = None, numbered: bool = False
) -> Series:
    """Open one HDF5 file, or one or more image files, as a series of frames.

    Args:
        paths: A path, or several in the order of their frames. `*`, `?` and `[…]` stand
            for any names, `#` for a digit; matches are taken in order of their names.
        dataset: Path of the images in an HDF5 file that holds several stacks.
        numbered: Whether a single image file stands for itself and for the files that
            follow it in number, as long as there are any.

    Returns:
        The series, a context manager that closes its files.

    Raises:
        FileError: Something cannot be read; the message says what to do.
    """
    names = [paths] if isinstance(paths, str | PathLike) else list(paths)
    files = [file for name in names for file in _expand(fspath(name))]
    if not files:
        raise FileError("No input is named: pass at least one file.")
    if is_hdf5(files[0]):
        if len(files) > 1:
            raise FileError(
                f"{files[0]} is HDF5 and not the only input: "
                "name its master, or denoise one file at a time."
            )
        return hdf5.open_hdf5(files[0], dataset)
    if numbered and len(files) == 1:
        files = list(_following(files[0]))
    return _open_images(files, tuple(fspath(name) for name in names))


def read_mask(
    path: str | PathLike[str], shape: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Return the mask in a file, True where a pixel is valid.

    In a file, zero is valid and any other value is bad, as in a DECTRIS pixel mask;
    only a NumPy file of booleans is a mask as tvjax has it, True where valid. An HDF5
    file gives its `pixel_mask` if it has one.

    Raises:
        FileError: The mask cannot be read, has another shape, or leaves no pixel.
    """
    path = Path(path)
    with reading(path):
        values = _mask_values(path)
    mask = values if values.dtype == bool else values == 0
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


def _mask_values(
    path: Path,
) -> Num[np.ndarray, "height width"] | Bool[np.ndarray, "height width"]:
    if path.suffix == ".npy":
        return np.load(path)
    if is_hdf5(path):
        return hdf5.read_pixel_mask(path)
    return next(_format(path).read(path, 0, 1))[0]


def _expand(name: str) -> list[Path]:
    """Return the files that `name` stands for, in order of their names."""
    if Path(name).exists() or not re.search(r"[*?\[#]", name):
        return [Path(name)]
    files = sorted(Path(found) for found in glob.glob(name.replace("#", "[0-9]")))
    if not files:
        raise FileError(f"No file matches {name}: check the folder and the pattern.")
    return files


def _following(path: Path) -> Iterator[Path]:
    """Yield `path` and the files that follow it in number without a break."""
    yield path
    found = _FRAME_NUMBER.match(path.name)
    for number in count(int(found["number"]) + 1) if found else ():
        digits = f"{number:0{len(found['number'])}d}"
        follower = path.with_name(found["start"] + digits + found["end"])
        if not follower.exists():
            return
        yield follower


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, by its first bytes."""
    with reading(path), path.open("rb"):
        return h5py.is_hdf5(path)


def holds_images(path: Path) -> bool:
    """Return whether a file is an image in any format but HDF5, and no text."""
    if _format(path) is not detectors:
        return True
    with path.open("rb") as file:
        start = file.read(512)
    # SMV and EDF images begin with text in braces.
    return start.startswith(b"{") or bool(re.search(rb"[^\t\r\n\f\x20-\xff]", start))


def _format(path: Path) -> ModuleType:
    """Return the module that reads `path`, by its first bytes."""
    with reading(path), open_binary(path) as file:
        start = file.read(8)
    if start.startswith(cbf.MAGIC):
        return cbf
    return tiff if start.startswith(tiff.MAGICS) else detectors


def _open_images(files: list[Path], names: tuple[str, ...]) -> Series:
    source = _format(files[0])
    with reading(files[0]):
        description = source.describe(files[0])
        first, _ = next(source.read(files[0], 0, 1))
    if first.dtype.kind not in "uif":
        raise FileError(
            f"{files[0]} holds no numbers: convert it to integers or floats."
        )
    return Series(
        num_frames=description.num_frames * len(files),
        shape=first.shape,
        dtype=first.dtype,
        read=functools.partial(
            _read_images,
            source,
            files,
            description.num_frames,
            first.shape,
            first.dtype,
        ),
        mask=np.ones(first.shape, bool),
        marks=Marks.of(first),
        metadata=description.metadata,
        names=names,
        files=tuple(files),
        kind=source.__name__.rpartition(".")[2],
        denoised_by=description.denoised_by,
    )


def _read_images(
    source: ModuleType,
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
