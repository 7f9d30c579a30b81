"""The outcome of denoising a scan, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jax import Array
from jaxtyping import Bool, Num

from tvjax.frames import Curve
from tvjax.io import Tally
from tvjax.noise import describe_noise, Noise, NoiseReport
from tvjax.pipeline.outcome import AbstractOutcome
from tvjax.result import noise_in_words, short


@runtime_checkable
class DenoisedFrames(Protocol):
    """What files need to know of denoised frames; `tvjax.frames.Result` has it all."""

    @property
    def image(self) -> np.ndarray | Array:
        """The frames, in the unit of the data."""
        ...

    @property
    def alpha(self) -> np.ndarray:
        """Strength in the unit of the data, one for all frames or one each."""
        ...

    @property
    def protection(self) -> float | None:
        """Multiple of the strength on clear spots; None where none was found."""
        ...

    @property
    def relative_gap(self) -> np.ndarray:
        """Duality gap over the objective, one a frame."""
        ...

    @property
    def converged(self) -> np.ndarray:
        """Whether the tolerance was reached, one a frame."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What deserves a second look, one sentence each."""
        ...

    @property
    def alpha_error(self) -> np.ndarray | None:
        """Relative standard error of the strength; None where it was given."""
        ...

    @property
    def at_bound(self) -> np.ndarray:
        """Whether the strength wanted to leave its range, one for all or one each."""
        ...

    @property
    def curve(self) -> Curve | None:
        """The risk at several strengths, where there is one."""
        ...


@runtime_checkable
class DenoisedPatterns(DenoisedFrames, Protocol):
    """What files need to know of frames that were denoised by their symmetry."""

    @property
    def alone(self) -> Bool[np.ndarray, " frame"]:
        """Whether each refused the symmetry, and was denoised by itself."""
        ...

    @property
    def told(self) -> Sequence[tuple[str, ...]]:
        """What deserves a second look in each."""
        ...


class Record(NamedTuple):
    """How one frame was denoised."""

    alpha: float  # in the unit of the data; 0 for a frame without a valid pixel
    relative_gap: float  # certified, over the objective
    converged: bool
    alone: bool = False  # whether it refused the symmetry that the others have
    told: tuple[str, ...] = ()  # what deserves a second look in it alone


# What an output records of each frame.
RECORDED = ("alpha", "relative_gap", "converged")


class Example(NamedTuple):
    """One frame of the sample before and after, for a report."""

    frame: int
    before: Num[np.ndarray, "height width"]
    after: Num[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FramesOutcome(AbstractOutcome):
    """What became of the frames of a scan.

    Attributes:
        frames: First frame and the one after the last, in the input.
        noise: Noise model that was given or estimated.
        diagnosis: What it was recognised by; None where it was given.
        choice: The result on the sample: strength, certificate and risk curve.
        records: How each frame was denoised; empty if nothing was written.
        tally: What writing did to the valid pixels.
        scale: Stored value of one count.
        example: One frame of the sample before and after.
        resumed: What was taken from an earlier run, in words; None where that was not
            asked for.
    """

    frames: tuple[int, int]
    noise: Noise
    diagnosis: NoiseReport | None = None
    choice: DenoisedFrames
    records: tuple[Record, ...]
    tally: Tally
    scale: int
    example: Example
    resumed: str | None = None

    def facts(self) -> dict[str, str]:
        """Input, noise, strength and what writing did, a sentence each."""
        alphas = sorted({f"{alpha:.4g}" for alpha in self._alphas()}, key=float)
        bar, error = "", self.choice.alpha_error
        if error is not None:
            bar = f" ± {short(100 * np.asarray(error), 2)} %"
        facts = {
            "input": f"{self.source}, frames {self.frames[0]}:{self.frames[1]}",
            "noise": noise_in_words(self.noise),
            "alpha": " to ".join(dict.fromkeys((alphas[0], alphas[-1]))) + bar,
        }
        if self.records:
            before, after, negative, saturated = self.tally
            num_frames = len(self.records)
            change = after / before - 1 if before else 0.0
            done = sum(record.converged for record in self.records)
            speed = num_frames / self.seconds
            facts |= {
                "converged": f"{done} of {num_frames} frames",
                "counts": f"{before:.6g} before, {after:.6g} after ({change:+.3%})",
                "pixels": f"{negative} negative, {saturated} saturated",
                "time": f"{self.seconds:.1f} s, {speed:.3g} frames/s",
            }
        if self.resumed is not None:
            facts["resumed"] = self.resumed
        facts["output"] = str(self.output)
        if self.scale != 1:
            facts["scale"] = (
                f"stored values are {self.scale} x counts: "
                f"give integration programs the gain {self.scale}"
            )
        return facts

    def numbers(self) -> dict[str, Any]:
        """Noise, strengths, certificates and counts."""
        return {
            "frames": list(self.frames),
            "noise": describe_noise(self.noise),
            "diagnosis": None if self.diagnosis is None else self.diagnosis.asdict(),
            "alpha": self._alphas(),
            "relative_gap": [record.relative_gap for record in self.records],
            "converged": [record.converged for record in self.records],
            "counts": self.tally._asdict(),
            "scale": self.scale,
        }

    def _alphas(self) -> list[float]:
        if self.records:
            return [record.alpha for record in self.records]
        return np.ravel(np.asarray(self.choice.alpha)).tolist()
