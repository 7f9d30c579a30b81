"""The inputs that files, folders, patterns and lists of files stand for."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from os import fspath, PathLike
from pathlib import Path
from typing import NamedTuple

from tvjax.io import detectors
from tvjax.io.errors import FileError, reading
from tvjax.io.file_names import (
    expand,
    is_pattern,
    pattern_of,
    uncompressed,
)
from tvjax.io.formats import format_of, is_hdf5
from tvjax.io.grouping import alike_names, files_led_to, roots_among, series_among
from tvjax.io.reading import Paths

# What a name that stands for the names in a file begins with.
LIST = "@"

# Bytes of a list of files, above which it is something else.
_LONGEST = 2**24

# Extensions by which images in a folder are known where their first bytes tell nothing.
_IMAGES = re.compile(
    r"\.(h5|hdf5?|nxs|cbf|tiff?|mccd|img|edf|kcd|sfrm|osc|esper(anto)?|mar\d+)", re.I
)


class _Kind(Enum):
    """What a file is, as far as inputs are sorted by it."""

    HDF5 = "HDF5"
    IMAGES = "images"
    OTHER = "other"


class Input(NamedTuple):
    """One input of several: a master, or the files of a series.

    Attributes:
        names: What `tvjax.io.open_series` is to open.
        files: The files that they stand for.
        sought: Whether it was found in a folder, and nobody named it.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]
    sought: bool = False

    @property
    def label(self) -> str:
        """What it is called, in few words."""
        if len(self.files) == 1 or len(self.names) == 1:
            return self.names[0]
        pattern = pattern_of(self.files)
        if pattern is None:
            return f"{self.files[0]} and {len(self.files) - 1} files more"
        return str(self.files[0].with_name(pattern))


class Inputs(NamedTuple):
    """What several names stand for.

    Attributes:
        found: The inputs, in the order of their names.
        refused: Names of what is no clear input, and a sentence about each.
        left_out: Sentences about files that are no inputs of their own.
    """

    found: tuple[Input, ...]
    refused: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


def single_input(names: Sequence[str]) -> list[str]:
    """Return the names of the one input that names stand for.

    Several images are frames of one series, however they are called.

    Raises:
        FileError: There are several inputs, or none.
    """
    listed = [each for name in names for each in _listed(name)]
    if not any(Path(each).is_dir() for each in listed):
        return listed
    found = find_inputs(listed)
    if len(found.found) != 1 or found.refused:
        number = len(found.found) + len(found.refused)
        raise FileError(
            f"{', '.join(names)} holds {number} inputs: write them into a folder, "
            "-o NAME/, or name one of them."
        )
    return list(found.found[0].names)


def names_several(names: Sequence[str]) -> bool:
    """Return whether names ask for more than the frames of one series.

    Folders and lists may do so, and several HDF5 files do.
    """
    if any(name.startswith(LIST) or Path(name).is_dir() for name in names):
        return True
    files = [each for name in names for each in expand(name)]
    return len(files) > 1 and is_hdf5(files[0])


def find_inputs(names: Paths, *, besides: Iterable[Path] = ()) -> Inputs:
    """Return the inputs that names stand for.

    A pattern is one series. Of all other files, those of HDF5 are inputs of their own,
    save what others lead to; images are a series if their names differ in the last
    number only and each of them holds one image. Of a folder the files count that hold
    images, not the folders in it.

    Args:
        names: Files, patterns, folders, and `@FILE` for the names in a file.
        besides: Files that are read for another purpose, and are no inputs.

    Raises:
        FileError: A folder or a list cannot be read, or there is nothing.
    """
    texts = [names] if isinstance(names, str | PathLike) else names
    given = [each for text in texts for each in _listed(fspath(text))]
    others = {path.resolve() for path in besides}
    others |= {path for each in others for path in files_led_to(each)}
    files: dict[Path, bool] = {}  # and whether a folder was searched for it
    found: list[Input] = []
    refused: list[tuple[str, str]] = []
    for name in given:
        if Path(name).is_dir():
            for each in _files_in(Path(name)):
                if each.resolve() not in others:
                    files.setdefault(each, True)
        elif is_pattern(name):
            try:
                matches = expand(name)
                if is_hdf5(matches[0]):
                    files.update(dict.fromkeys(matches, False))
                else:
                    found.append(Input((name,), tuple(matches)))
            except FileError as error:
                refused.append((name, str(error)))
        else:
            files[Path(name)] = False
    hdf5: list[Path] = []
    groups: list[list[Path]] = []
    for alike in alike_names(files):
        kind = _kind(alike[0], sought=files[alike[0]])
        if kind is _Kind.HDF5:
            hdf5 += alike
        elif kind is _Kind.IMAGES:
            try:
                groups += series_among(alike)
            except FileError as error:
                refused.append((str(alike[0]), str(error)))
    roots, parts = roots_among(hdf5)
    for group in (*([each] for each in roots), *groups):
        sought = all(files[each] for each in group)
        found.append(Input(tuple(map(str, group)), tuple(group), sought))
    places = {path: place for place, path in enumerate(files)}
    found.sort(key=lambda each: places.get(each.files[0], -1))
    left_out = _tell_parts(parts)
    if not (found or refused):
        raise FileError(
            f"{', '.join(given) or 'The list'} holds no images: name files, or the "
            "folder that they lie in itself."
        )
    return Inputs(tuple(found), tuple(refused), left_out)


def read_list(path: Path) -> list[str]:
    """Return the names in a text file, one a line; `# ` begins a remark.

    A relative name counts from the current folder, or from that of the list where the
    current one has no such file.

    Raises:
        FileError: The file cannot be read, or is no text.
    """
    with reading(path):
        if path.stat().st_size > _LONGEST:
            raise FileError(f"{path} is no list of files, but too long: name a text.")
        content = path.read_bytes()
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = ["\0"]
    if any("\0" in line for line in lines):
        raise FileError(f"{path} is no list of files: write one name a line, in UTF-8.")
    kept = [line.strip() for line in lines]
    kept = [each for each in kept if each and each != "#" and each[:2] != "# "]
    return [_beside(each, path.parent) for each in kept]


def _beside(name: str, folder: Path) -> str:
    """Return the name from where it leads somewhere: here, or in the folder."""
    there = folder / name
    if _leads(Path(name)) or not _leads(there):
        return name
    return str(there)


def _leads(path: Path) -> bool:
    if path.exists():
        return True
    try:
        return is_pattern(str(path)) and bool(expand(str(path)))
    except FileError:
        return False


def _listed(name: str) -> list[str]:
    """Return the names that a name stands for: itself, or those in a list."""
    if not name.startswith(LIST) or Path(name).exists():
        return [name]
    return read_list(Path(name.removeprefix(LIST)))


def _files_in(folder: Path) -> list[Path]:
    """Return the files in a folder, but hidden ones."""
    with reading(folder):
        inside = sorted(folder.iterdir())
        return [each for each in inside if each.name[0] != "." and each.is_file()]


def _kind(path: Path, *, sought: bool) -> _Kind:
    """Return what a file is by its first bytes, or else by its name.

    One that was named says what it is when it is opened.
    """
    try:
        if is_hdf5(path):
            return _Kind.HDF5
        known = format_of(path) is not detectors
    except FileError:
        known = False
    # what should have been images by its name says so when it is opened
    return _Kind.IMAGES if known or not sought or named_as_image(path) else _Kind.OTHER


def named_as_image(path: Path) -> bool:
    """Return whether a name is that of images, or of HDF5."""
    return bool(_IMAGES.fullmatch(uncompressed(path).suffix))


def _tell_parts(parts: Sequence[Path]) -> tuple[str, ...]:
    """Return a sentence about files that other ones lead to."""
    if not parts:
        return ()
    if len(parts) == 1:
        return (f"{parts[0]} is no input of its own, since another leads to it.",)
    more = len(parts) - 1
    return (
        f"{parts[0]} and {more} more are no inputs of their own: others lead there.",
    )
