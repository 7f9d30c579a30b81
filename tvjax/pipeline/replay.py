"""Frames that were denoised as they came, given back to a scan in its order."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Num

from tvjax.frames import Weights
from tvjax.io.spool import Spool
from tvjax.noise import Noise
from tvjax.pipeline.frames_outcome import DenoisedFrames, Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Recalled:
    """Frames that were denoised before, as `DenoisedFrames`."""

    image: Num[np.ndarray, "frame height width"]
    alpha: Float[np.ndarray, " frame"]
    relative_gap: Float[np.ndarray, " frame"]
    converged: Bool[np.ndarray, " frame"]
    at_bound: Bool[np.ndarray, " frame"]
    protection: None = None
    warnings: tuple[str, ...] = ()
    alpha_error: None = None
    curve: None = None


class Replay:
    """Gives a scan what its frames have become: first the choice, then all in order.

    It knows the frames by their turn. Those without a valid pixel have none, and a
    batch that lacks them is filled up by its last frame.
    """

    def __init__(
        self,
        choice: DenoisedFrames,
        spool: Spool,
        records: Sequence[Record | None],
        order: Sequence[int],
    ) -> None:
        kept = np.cumsum([record is not None for record in records]) - 1
        self._frames = [(int(kept[index]), records[index]) for index in order]
        self._choice: DenoisedFrames | None = choice
        self._spool = spool
        self._next = 0

    def __call__(
        self,
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
    ) -> DenoisedFrames:
        """Return what was chosen, or what the next frames have become."""
        del noise, alpha, mask, per_frame, weights, repeats, protect, curve_points
        if self._choice is not None:
            choice, self._choice = self._choice, None
            return choice
        batch: list[tuple[int, Record]] = []
        while not batch:
            part = self._frames[self._next : self._next + len(y)]
            self._next += len(y)
            batch = [(i, record) for i, record in part if record is not None]
        batch += [batch[-1]] * (len(y) - len(batch))
        return _Recalled(
            image=np.stack([self._spool[index] for index, _ in batch]),
            alpha=np.array([record.alpha for _, record in batch]),
            relative_gap=np.array([record.relative_gap for _, record in batch]),
            converged=np.array([record.converged for _, record in batch]),
            at_bound=np.zeros(len(batch), bool),
        )
