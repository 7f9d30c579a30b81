"""Frames that a strength of zero leaves as they are."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Num

from tvjax.frames import Curve, Weights
from tvjax.io import Frame
from tvjax.noise import Noise
from tvjax.pipeline.frames_outcome import Record
from tvjax.pipeline.streaming import read_ahead

LEFT = Record(0.0, 0.0, True)
"""How a frame is denoised that is left as it is, or has no valid pixel."""


@dataclass(frozen=True, eq=False)
class LeftFrames:
    """Frames as they came, with what files need to know of denoised ones."""

    image: Num[np.ndarray, "frame height width"]
    warnings: tuple[str, ...] = ()
    protection: float | None = None
    alpha_error: np.ndarray | None = None
    curve: Curve | None = None

    @property
    def alpha(self) -> np.ndarray:
        """The strength, which is zero."""
        return np.zeros(())

    @property
    def relative_gap(self) -> np.ndarray:
        """Zero for each frame: it is its own solution."""
        return np.zeros(len(self.image))

    @property
    def converged(self) -> np.ndarray:
        """True for each frame."""
        return np.ones(len(self.image), bool)

    @property
    def at_bound(self) -> np.ndarray:
        """False, since nothing was chosen."""
        return np.zeros((), bool)


def leave(
    y: Num[np.ndarray, "frame height width"],
    *,
    noise: Noise,
    alpha: float | None,
    mask: Bool[np.ndarray, "frame height width"],
    per_frame: bool,
    weights: Weights | None,
    repeats: bool,
    protect: bool | float,
    curve_points: int = 0,
) -> LeftFrames:
    """Return frames as `tvjax.denoise` does at strength zero, without a solver."""
    del noise, alpha, mask, per_frame, weights, repeats, protect, curve_points
    return LeftFrames(y)


def leave_all(
    frames: Iterable[Frame],
) -> Generator[tuple[Frame, Num[np.ndarray, "height width"], Record], None, None]:
    """Yield each frame with its own image, reading ahead."""
    with closing(read_ahead(frames)) as ahead:
        for frame in ahead:
            yield frame, frame.data, LEFT
