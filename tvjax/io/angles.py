"""The rotation angles at which frames start, and whether they follow each other."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tvjax.io.compressed import open_binary
from tvjax.io.errors import reading

# The angle in the headers of DECTRIS and of SMV, and how much of a file to look for it.
_START = re.compile(
    rb"(?:Start_angle\s+|OSC_START=\s*)([-+]?\d[\d.]*(?:[eE][-+]?\d+)?)"
)
_HEADER_BYTES = 2**15

# Share of a step by which an angle may be off: headers round them.
_ROUNDED = 0.3

# Files compressed as a whole that are looked at: each has to be unpacked in part.
_MOST_COMPRESSED = 100

# Places that a sentence names.
_MOST_NAMED = 3


def check_angles(
    files: Sequence[Path], numbers: Sequence[int] | None, step: float | None
) -> Iterator[str]:
    """Yield a sentence where the angles in the headers of files do not follow.

    Args:
        files: One a frame, in their order.
        numbers: Their numbers; None where they have none.
        step: The rotation per frame in degrees that the first one tells.
    """
    if not step or len(files) < 2:
        return
    numbers = range(len(files)) if numbers is None else numbers
    found = [
        (numbers[index], files[index], angle)
        for index in _looked_at(files)
        if (angle := _start_angle(files[index])) is not None
    ]
    breaks = []
    for (one, first, start), (other, second, then) in pairwise(found):
        expected = (other - one) * step
        # by how much the second is off, whole turns aside
        off = (then - start - expected + 180) % 360 - 180
        if abs(off) > _ROUNDED * abs(step):
            breaks.append(f"{first.name} ({start:g}) to {second.name} ({then:g})")
    if breaks:
        rest = f" and {len(breaks) - _MOST_NAMED} more" * (len(breaks) > _MOST_NAMED)
        yield (
            f"The angles do not follow in steps of {step:g} degrees from "
            f"{', from '.join(breaks[:_MOST_NAMED])}{rest}: every frame keeps the one "
            "in its own header; check that all belong to one scan."
        )


def _looked_at(files: Sequence[Path]) -> list[int]:
    """Return the positions of the files whose headers are read."""
    if files[0].suffix not in (".gz", ".bz2") or len(files) <= _MOST_COMPRESSED:
        return list(range(len(files)))
    places = np.linspace(0, len(files) - 1, _MOST_COMPRESSED).round()
    return places.astype(int).tolist()


def _start_angle(path: Path) -> float | None:
    """Return the angle in the header of a file, None where there is none."""
    with reading(path), open_binary(path) as file:
        found = _START.search(file.read(_HEADER_BYTES))
    return float(found[1]) if found else None
