"""Files that belong together: frames of one series, and data files of a master."""

import re
from collections.abc import Iterable
from pathlib import Path

from tvjax.io.errors import FileError, reading
from tvjax.io.file_names import frame_name, frame_number
from tvjax.io.formats import format_of
from tvjax.io.hdf5.opening import open_file
from tvjax.io.hdf5.tree import linked_files


def alike_names(files: Iterable[Path]) -> list[list[Path]]:
    """Return files in groups whose names differ in numbers only."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for each in files:
        key = each.parent, re.sub(r"\d+", "0", each.name)
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def series_among(alike: list[Path]) -> list[list[Path]]:
    """Return the series among images whose names differ in numbers only.

    Raises:
        FileError: It is not clear which are one series.
    """
    if len(alike) == 1:
        return [alike]
    if _holds_several(alike[0]):
        return [[each] for each in alike]
    series: dict[tuple[str, str], list[Path]] = {}
    for each in alike:
        name = frame_name(each)
        series.setdefault((name.start, name.end) if name else ("", ""), []).append(each)
    # 7100.5 is one number as an energy
    decimal = any(re.search(r"\d\.$", start) for start, _ in series)
    if len(series) > 1 and (decimal or len(series) == len(alike)):
        raise FileError(
            f"{alike[0]} and {len(alike) - 1} more differ in other numbers than their "
            "last, and may be frames of one series or of several: name a pattern in "
            "quotes for each series."
        )
    return [sorted(each, key=frame_number) for each in series.values()]


def _holds_several(path: Path) -> bool:
    """Return whether a file holds several images; False where it cannot be read."""
    try:
        with reading(path):
            return format_of(path).describe(path).num_frames > 1
    except FileError:
        return False  # who opens it is told


def roots_among(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the HDF5 files that no other leads to, and the rest.

    Of files that lead to each other, the first is one of the former.
    """
    by_target = {each.resolve(): each for each in files}
    leads = {each: files_led_to(each) & by_target.keys() for each in files}
    led = {target for each in files for target in leads[each] - {each.resolve()}}
    roots = [each for each in files if each.resolve() not in led]
    reached: set[Path] = set()
    for each in (*roots, *files):
        pending = [each]
        if each.resolve() not in reached and each not in roots:
            roots.append(each)
        while pending:
            path = pending.pop()
            if path.resolve() not in reached:
                reached.add(path.resolve())
                pending += [by_target[target] for target in leads[path]]
    return roots, [each for each in files if each not in roots]


def files_led_to(path: Path) -> set[Path]:
    """Return the files that an HDF5 file leads to, none if it cannot be read."""
    try:
        with reading(path), open_file(path) as file:
            return {each.resolve() for each in linked_files(file)}
    except FileError:
        return set()  # who opens it is told
