"""Where HDF5 looks for the other files that a file names: beside it, and elsewhere.

Environment variables name folders that are searched before all others.
"""

import os
from enum import StrEnum
from pathlib import Path

from tvjax.io.errors import FileError

# What stands for the folder of the file that names another, at the start of a prefix.
_ORIGIN = "${ORIGIN}"


class Reference(StrEnum):
    """How a file names another, and the variable with the folders that come first."""

    LINK = "HDF5_EXT_PREFIX"
    VIRTUAL = "HDF5_VDS_PREFIX"
    RAW = "HDF5_EXTFILE_PREFIX"


def folders(holder: Path, by: Reference) -> list[Path]:
    """Return the folders in which HDF5 looks for what the file `holder` names.

    Args:
        holder: The file, under the name that was opened.
        by: How it names the other.
    """
    first = _prefixes(holder, by)
    if by is Reference.RAW:  # as HDF5 has only one place for these
        return first[:1] or [Path()]
    return [*first, holder.parent, Path(), holder.resolve().parent]


def linked_file(holder: Path, name: str, by: Reference) -> Path | None:
    """Return the file that `name` in the file `holder` leads to, None if it is missing.

    HDF5 looks in the folders that the environment names, in that of the name that it
    opened, in the current one, and in that of the file that a symbolic link leads to.
    """
    return next((place for place in _places(holder, name, by) if place.exists()), None)


def check_prefixes(own: Path, name: str, meant: Path, by: Reference) -> None:
    """Refuse a name in an output that the environment would lead elsewhere.

    Args:
        own: The file of the output that has the name.
        name: The name, as it is written.
        meant: The file that it shall lead to.
        by: How it is named.

    Raises:
        FileError: HDF5 would find another file before it.
    """
    if os.path.isabs(name):
        return
    for folder in _prefixes(own, by):
        other = folder / name
        if other.exists() and os.path.realpath(other) != os.path.realpath(meant):
            raise FileError(
                f"{own} would show {other} in place of {meant}, since HDF5 looks in "
                f"{folder} first: give the output another name, or unset {by.value} "
                "and lay links to the data files beside the input."
            )


def _prefixes(holder: Path, by: Reference) -> list[Path]:
    """Return the folders that the environment names."""
    text = os.environ.get(by.value, "")
    if by is not Reference.LINK and text.startswith(_ORIGIN):
        inner = text.removeprefix(_ORIGIN).lstrip("/")
        return [Path(os.path.abspath(holder)).parent / inner]
    if by is Reference.RAW:
        return [Path(text)] if text else []
    return [Path(each) for each in text.split(":") if each]


def _places(holder: Path, name: str, by: Reference) -> list[Path]:
    if by is Reference.RAW:
        return [folder / name for folder in folders(holder, by)]
    names = (
        (Path(name), Path(Path(name).name)) if os.path.isabs(name) else (Path(name),)
    )
    return [folder / each for each in names for folder in folders(holder, by)]
