"""The record of how an output came about."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, UTC
from importlib.metadata import version
from pathlib import Path

# Name of the program, and of its group in an HDF5 file.
PROGRAM = "tvjax"

# What JSON can hold, by name.
Json = Mapping[str, str | int | float | bool | Sequence | Mapping | None]


def program() -> str:
    """Return program and version, as written into every output."""
    return f"{PROGRAM} {version(PROGRAM)}"


@functools.cache
def program_digest() -> str:
    """Return what tells this program from any with another line in it."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(program().encode())
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Provenance:
    """Everything needed to repeat or to judge a denoising.

    Attributes:
        settings: Every setting as used, defaults included.
        inputs: The input as the user named it.
        frames: First frame and the one after the last, in the input.
        noise: The noise model's name as `model`, and its parameters by theirs.
        results: What came out, by name: numbers, or lists of them.
        scale: Stored value of one count.
        tally: What writing did to the valid pixels.
        date: When the output was finished.
    """

    settings: Json
    inputs: tuple[str, ...]
    frames: tuple[int, int]
    noise: Json
    results: Json
    scale: int = 1
    tally: Mapping[str, float] = field(default_factory=dict)
    date: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds")
    )

    def as_json(self) -> str:
        """Return the record as indented JSON text."""
        record = {"program": PROGRAM, "version": version(PROGRAM)}
        own = dataclasses.asdict(self)
        return json.dumps(record | own.pop("results") | own, indent=2) + "\n"
