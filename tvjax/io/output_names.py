"""The names of outputs in a folder, by their inputs."""

import os
from collections.abc import Sequence
from pathlib import Path

from tvjax.io.file_names import frame_name, pattern_of, uncompressed
from tvjax.io.formats import WRITABLE
from tvjax.io.hdf5 import write_frames

# Signs between a name and its number.
_JOINTS = "_-. "


def is_folder(output: str | os.PathLike[str]) -> bool:
    """Return whether an output is a folder: one that is there, or ends in /."""
    return os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir()


def name_of_output(
    files: Sequence[Path], *, floats: bool = False, growing: bool = False
) -> str:
    """Return the name of the output in a folder, for the files of one input.

    A file keeps its name, and numbered ones their name with `#` for the digits, where
    their format is written; all others become HDF5 with what the names share.

    Args:
        files: The files of the input.
        floats: Whether the output has to hold floating-point numbers.
        growing: Whether others of the same series are still to come.
    """
    first = uncompressed(files[0])
    name = first.name if len(files) == 1 else pattern_of(files)
    parts = frame_name(first)
    if growing and parts is not None and len(files) == 1:
        name = f"{parts.start}{'#' * len(parts.number)}{parts.end}"
    kept = {
        suffix
        for known in WRITABLE
        if not floats or "float32" in known.DTYPES
        for suffix in known.SUFFIXES
    }
    if name is not None and Path(name).suffix.lower() in kept:
        return name
    if name is None:
        names = [uncompressed(each).name for each in files]
        stem = os.path.commonprefix(names).rstrip("0123456789")
    else:
        stem = Path(name).stem.replace("#", "")
    stem = stem.rstrip(_JOINTS) or files[0].resolve().parent.name
    return stem + write_frames.SUFFIXES[0]
