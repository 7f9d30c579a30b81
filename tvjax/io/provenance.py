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
        alpha: Strength of each frame, in the unit of the data.
        gap: Certified duality gap of each frame, relative to the objective.
        converged: Whether each frame reached its tolerance.
        scale: Stored value of one count.
        tally: What writing did to the valid pixels.
        date: When the output was finished.
    """

    settings: Mapping[str, object]
    inputs: tuple[str, ...]
    frames: tuple[int, int]
    noise: Mapping[str, object]
    alpha: tuple[float, ...]
    gap: tuple[float, ...]
    converged: tuple[bool, ...]
    scale: int = 1
    tally: Mapping[str, float] = field(default_factory=dict)
    date: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds")
    )

    def as_json(self) -> str:
        """Return the record as indented JSON text."""
        record = {"program": PROGRAM, "version": version(PROGRAM)}
        return json.dumps(record | dataclasses.asdict(self), indent=2) + "\n"
