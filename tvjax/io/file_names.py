"""File names as users write them: patterns, numbers, and paths within a file."""

import glob
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tvjax.io.errors import FileError

# The last number before the extension, or instead of one as in scan.0001.
_FRAME_NUMBER = re.compile(
    r"(?P<start>.*?)(?P<number>\d+)(?P<end>\D*?(\.[A-Za-z]\w*)?(\.gz|\.bz2)?)$"
)

# Digits of a frame's number in the name of its file, where the name has no `#`.
_DIGITS = 5


def expand(name: str) -> list[Path]:
    """Return the files that a name or a pattern stands for, in order of their names.

    Raises:
        FileError: No file matches the pattern.
    """
    if Path(name).exists() or not re.search(r"[*?\[#]", name):
        return [Path(name)]
    files = sorted(Path(found) for found in glob.glob(name.replace("#", "[0-9]")))
    if not files:
        raise FileError(f"No file matches {name}: check the folder and the pattern.")
    return files


def follow(path: Path) -> Iterator[Path]:
    """Yield `path` and the files that follow it in number without a break."""
    yield path
    found = _FRAME_NUMBER.match(path.name)
    if found is None:
        return
    for number in count(int(found["number"]) + 1):
        digits = f"{number:0{len(found['number'])}d}"
        follower = path.with_name(found["start"] + digits + found["end"])
        if not follower.exists():
            return
        yield follower


def numbered(path: Path, num_frames: int) -> list[Path]:
    """Return one name a frame, numbered from 1, in place of `#` where there is any."""
    width = path.name.count("#") or _DIGITS
    stem = path.stem if "#" in path.name else f"{path.stem}_{'#' * width}"
    return [
        path.with_name(stem.replace("#" * width, f"{number:0{width}d}") + path.suffix)
        for number in range(1, num_frames + 1)
    ]


def unnumbered_stem(path: Path) -> str:
    """Return the stem of what goes beside a series of numbered files."""
    return path.stem.replace("#", "").rstrip("_")


def split_path(name: str) -> tuple[Path, str | None]:
    """Return the file and the path in it that `FILE[:PATH]` means."""
    file, colon, inner = name.rpartition(":")
    if Path(name).exists() or not colon:
        return Path(name), None
    return Path(file), inner
