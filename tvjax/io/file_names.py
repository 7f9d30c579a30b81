"""File names as users write them: patterns, numbers, and paths within a file."""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tvjax.io.errors import FileError

# The last number before the extension, or instead of one as in scan.0001.
_FRAME_NUMBER = re.compile(
    r"(?P<start>.*?)(?P<number>\d+)(?P<end>\D*?(\.[A-Za-z]\w*)?(\.gz|\.bz2)?)$"
)

# Digits of a frame's number in the name of its file, where the name has no `#`.
_DIGITS = 5

# Gaps in the numbers of a series that a sentence names.
_MOST_GAPS = 8


class FrameName(NamedTuple):
    """The name of a frame's file, around the last number in it."""

    start: str
    number: str
    end: str


def frame_name(path: Path) -> FrameName | None:
    """Return the parts of the name of a frame's file, None where it has no number."""
    found = _FRAME_NUMBER.match(path.name)
    return found and FrameName(found["start"], found["number"], found["end"])


def is_pattern(name: str) -> bool:
    """Return whether a name stands for the files that match it."""
    return bool(re.search(r"[*?\[#]", name)) and not Path(name).exists()


def expand(name: str) -> list[Path]:
    """Return the files that a name or a pattern stands for.

    They come in the order of the numbers in their names: img_2 before img_10.

    Raises:
        FileError: No file matches the pattern, or their order is not clear.
    """
    if not is_pattern(name):
        return [Path(name)]
    files = [Path(found) for found in glob.glob(name.replace("#", "[0-9]"))]
    if not files:
        raise FileError(f"No file matches {name}: check the folder and the pattern.")
    files.sort(key=by_numbers)
    for one, other in pairwise(files):
        if by_numbers(one)[0] == by_numbers(other)[0]:
            raise FileError(
                f"{name} matches {one.name} and {other.name}, which have one number: "
                "name a pattern that only one of them matches."
            )
    # 7100.25 lies between 7100 and 7100.5 as an energy, behind it as a frame number.
    if sorted(files, key=_by_decimal) != files:
        raise FileError(
            f"{name} matches names with numbers as {files[0].name}, of which the order "
            "is not clear: name all files in their order."
        )
    return files


def check_order(files: Sequence[Path]) -> None:
    """Raise `FileError` if files were named twice, or by a shell that cannot count."""
    if len(set(files)) < len(files):
        double = next(file for file in files if files.count(file) > 1)
        raise FileError(f"{double} is named twice: name every file once.")
    given = list(files)
    # shells compare names letter by letter, in some languages without the signs
    letters = [re.sub(r"[\W_]", "", str(file)).lower() for file in files]
    by_name = given == sorted(given, key=str) or letters == sorted(letters)
    if by_name and given != sorted(given, key=by_numbers):
        raise FileError(
            f"{files[0]} to {files[-1]} come in the order of their letters, in which "
            "10 is before 2: put the pattern in quotes, and the numbers decide."
        )


def frame_numbers(files: Sequence[Path]) -> tuple[int, ...] | None:
    """Return the number of each of several files, by the part that tells them apart.

    None where that is no number, or where numbers do not rise from file to file.
    """
    numbers = tuple(map(int, _numbers_apart([str(uncompressed(f)) for f in files])[1]))
    return numbers if numbers and all(a < b for a, b in pairwise(numbers)) else None


def missing_numbers(numbers: Sequence[int]) -> str:
    """Return in words which numbers of a series are missing; empty if none is.

    Numbers that are all equally far apart lack nothing.
    """
    if len({b - a for a, b in pairwise(numbers)}) < 2:
        return ""
    gaps = [(a + 1, b - 1) for a, b in pairwise(numbers) if b - a > 1]
    words = [f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:_MOST_GAPS]]
    rest = ["…"] if len(gaps) > _MOST_GAPS else []
    return ", ".join(words + rest)


def follow(path: Path) -> Iterator[Path]:
    """Yield `path` and the files that follow it in number without a break."""
    yield path
    for number, follower in enumerate(later(path), frame_number(path) + 1):
        if frame_number(follower) != number:
            return
        yield follower


def later(path: Path) -> list[Path]:
    """Return the files of the series of `path` that have greater numbers, in order."""
    found = frame_name(path)
    if found is None or not path.parent.is_dir():
        return []
    width = len(found.number)
    name = re.compile(
        re.escape(found.start)
        + rf"(\d{{{width}}}|[1-9]\d{{{width},}})"
        + re.escape(found.end)
    )
    files = [each for each in path.parent.iterdir() if name.fullmatch(each.name)]
    return sorted(
        (each for each in files if frame_number(each) > int(found.number)),
        key=frame_number,
    )


def numbered(path: Path, numbers: Iterable[int]) -> list[Path]:
    """Return one name a number, in place of `#` where there is any."""
    width = path.name.count("#") or _DIGITS
    stem = path.stem if "#" in path.name else f"{path.stem}_{'#' * width}"
    return [
        path.with_name(stem.replace("#" * width, f"{number:0{width}d}") + path.suffix)
        for number in numbers
    ]


def pattern_of(files: Sequence[Path]) -> str | None:
    """Return a name with `#` in place of the one number that tells files apart.

    None where other things do, too. Names without leading zeros get one `#`.
    """
    names = [uncompressed(file).name for file in files]
    place, numbers = _numbers_apart(names)
    if not numbers:
        return None
    parts = _split_numbers(names[0])
    parts[place] = "#" * min(map(len, numbers))
    return "".join(parts)


def unnumbered_stem(path: Path) -> str:
    """Return the stem of what goes beside a series of numbered files."""
    return path.stem.replace("#", "").rstrip("_")


def split_path(name: str) -> tuple[Path, str | None]:
    """Return the file and the path in it that `FILE[:PATH]` means."""
    file, colon, inner = name.rpartition(":")
    if Path(name).exists() or not colon:
        return Path(name), None
    return Path(file), inner


def frame_number(path: Path) -> int:
    """Return the number of a frame's file, 0 where it has none."""
    found = frame_name(path)
    return 0 if found is None else int(found.number)


def uncompressed(path: Path) -> Path:
    """Return the name that a file has when it is no longer compressed."""
    return path.with_suffix("") if path.suffix in (".gz", ".bz2") else path


def _split_numbers(text: str) -> list[str]:
    """Return texts and whole numbers in turns, a text first."""
    return re.split(r"([0-9]+)", text)


def _numbers_apart(names: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Return which part of names differs, and its numbers; none if others do, too."""
    parts = [_split_numbers(name) for name in names]
    if len({len(each) for each in parts}) != 1:
        return 0, ()
    columns = list(zip(*parts, strict=True))
    apart = [place for place, each in enumerate(columns) if len(set(each)) > 1]
    if len(apart) != 1 or apart[0] % 2 == 0:
        return 0, ()
    return apart[0], columns[apart[0]]


def by_numbers(path: Path) -> tuple[list[str | int], str]:
    """Return the key by which names with whole numbers are sorted."""
    parts = _split_numbers(str(uncompressed(path)))
    return [int(each) if n % 2 else each for n, each in enumerate(parts)], str(path)


def _by_decimal(path: Path) -> list[str | Decimal]:
    """Return the key by which names with decimal fractions are sorted."""
    parts = re.split(r"([0-9]+(?:\.[0-9]+)?)", str(uncompressed(path)))
    return [Decimal(each) if n % 2 else each for n, each in enumerate(parts)]
