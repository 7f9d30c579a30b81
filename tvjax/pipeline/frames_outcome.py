"""What became of a series that was denoised?"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num

from tvjax.io import Tally


class Record(NamedTuple):
    """How one frame was denoised."""

    alpha: float  # in the unit of the data; 0 for a frame without a valid pixel
    gap: float  # certified, relative to the objective
    converged: bool


class Example(NamedTuple):
    """One frame of the sample before and after, for a report."""

    index: int
    before: Num[np.ndarray, "height width"]
    after: Num[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a series.

    Attributes:
        output: The file that was asked for.
        source: What the input was, in words.
        frames: First frame and the one after the last, in the input.
        choice: The result on the sample: noise, strength, risk and its curve.
        records: How each frame was denoised; empty if nothing was written.
        tally: What writing did to the valid pixels.
        scale: Stored value of one count.
        warnings: What deserves a second look, one sentence each.
        seconds: Time from start to end.
        example: One frame of the sample before and after.
    """

    output: Path
    source: str
    frames: tuple[int, int]
    choice: object
    records: tuple[Record, ...]
    tally: Tally
    scale: int
    warnings: tuple[str, ...]
    seconds: float
    example: Example

    def asdict(self) -> dict[str, object]:
        """Return the outcome as plain values."""
        return {
            "output": str(self.output),
            "input": self.source,
            "frames": list(self.frames),
            "noise": describe_noise(self.choice.noise),
            "alpha": self._alphas(),
            "gap": [record.gap for record in self.records],
            "converged": [record.converged for record in self.records],
            "counts": self.tally._asdict(),
            "scale": self.scale,
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }

    def report(self) -> str:
        """Return the outcome as a few lines of text."""
        kind, *parameters = describe_noise(self.choice.noise).items()
        values = ", ".join(f"{name} {np.mean(value):.4g}" for name, value in parameters)
        alphas = sorted({f"{alpha:.4g}" for alpha in self._alphas()}, key=float)
        lines = [
            f"input      {self.source}, frames {self.frames[0]}:{self.frames[1]}",
            f"noise      {kind[1]}, {values}",
            f"alpha      {' to '.join(dict.fromkeys((alphas[0], alphas[-1])))}",
        ]
        if self.records:
            before, after, negative, saturated = self.tally
            num_frames = len(self.records)
            change = after / before - 1 if before else 0.0
            done = sum(record.converged for record in self.records)
            speed = num_frames / self.seconds
            lines += [
                f"converged  {done} of {num_frames} frames",
                f"counts     {before:.6g} before, {after:.6g} after ({change:+.3%})",
                f"pixels     {negative} negative, {saturated} saturated",
                f"time       {self.seconds:.1f} s, {speed:.3g} frames/s",
            ]
        lines.append(f"output     {self.output}")
        if self.scale != 1:
            lines.append(
                f"scale      stored values are {self.scale} x counts: "
                f"give integration programs the gain {self.scale}"
            )
        return "\n".join([*lines, *(f"warning    {text}" for text in self.warnings)])

    def _alphas(self) -> list[float]:
        if self.records:
            return [record.alpha for record in self.records]
        return np.ravel(np.asarray(self.choice.alpha)).tolist()


def describe_noise(noise: object) -> dict[str, object]:
    """Return a noise model as plain values: its kind and its parameters."""
    parameters = {
        item.name: np.asarray(getattr(noise, item.name)).tolist()
        for item in dataclasses.fields(noise)
    }
    return {"kind": type(noise).__name__, **parameters}
