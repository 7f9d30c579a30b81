"""How did an output come about?"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, UTC
from importlib.metadata import version

PROGRAM = "tvjax"


def program() -> str:
    """Return program and version, as written into every output."""
    return f"{PROGRAM} {version(PROGRAM)}"


@dataclass(frozen=True)
class Provenance:
    """Everything needed to repeat or to judge a denoising.

    Attributes:
        settings: Every setting as used, defaults included.
        inputs: The input as the user named it.
        frames: First frame and the one after the last, in the input.
        noise: The noise model and its parameters.
        results: What came out, by name: numbers, or lists of them.
        scale: Stored value of one count.
        tally: What writing did to the valid pixels.
        date: When the output was finished.
    """

    settings: Mapping[str, object]
    inputs: tuple[str, ...]
    frames: tuple[int, int]
    noise: Mapping[str, object]
    results: Mapping[str, object]
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
