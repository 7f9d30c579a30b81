"""The shape that every outcome of a run over files has."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvjax.result import AbstractReadable


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AbstractOutcome(AbstractReadable):
    """What became of input files.

    Attributes:
        output: The file that was asked for.
        source: What the input was, in words.
        seconds: Time from start to end.
    """

    output: Path
    source: str
    seconds: float

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """What belongs to this kind of outcome, in types that JSON knows."""

    def asdict(self) -> dict[str, Any]:
        """Everything but images, in types that JSON knows."""
        return {
            "output": str(self.output),
            "input": self.source,
            **self.numbers(),
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        """The kind of outcome, its output, and how long it took."""
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"<{type(self).__name__} {self.output}, {self.seconds:.3g} s{warned}>"
