"""How do files of patterns become denoised ones, by the symmetry that they have?

Group and centre are settled once, on the sum of a few frames, which tells them best.
Then the frames stream as those of any scan do.
"""

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num

from tvjax.io import FileError
from tvjax.pipeline.frames import denoise_series
from tvjax.pipeline.frames_outcome import Outcome
from tvjax.pipeline.input import open_input
from tvjax.settings import parse_centre, SymmetrySettings, TrainingSettings

Frames = Num[np.ndarray, "frame height width"]
Mask = Bool[np.ndarray, "height width"]


class Profile(NamedTuple):
    """Means over rings of one pixel."""

    radius: Float[np.ndarray, " ring"]
    before: Float[np.ndarray, " ring"]
    after: Float[np.ndarray, " ring"]
    error: Float[np.ndarray, " ring"]  # standard error of `before`


class SymmetryOutcome(NamedTuple):
    """What became of the files, and which symmetry it was by."""

    outcome: Outcome
    choice: object  # centre and agreement, see `tvjax.symmetry.choose_symmetry`
    profile: Profile | None
    num_alone: int  # frames that refuse it, and were denoised by themselves

    def asdict(self) -> dict[str, object]:
        """Return the outcome as plain values."""
        facts = describe(self.choice) | {"frames_alone": self.num_alone}
        return self.outcome.asdict() | {"symmetry": facts}

    def report(self) -> str:
        """Return the outcome as a few lines of text."""
        if self.choice.agreement is None:
            line = "symmetry   none that the data do not refuse"
        else:
            line = f"symmetry   {self.choice.agreement.report()}"
        if self.num_alone:
            line += (
                f"\nWARNING    {self.num_alone} frames refuse the symmetry that the "
                "first ones have: TV alone has denoised them"
            )
        return f"{line}\n{self.outcome.report()}"


def denoise_symmetric_series(
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    settings: SymmetrySettings | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    dry_run: bool = False,
) -> SymmetryOutcome:
    """Denoise files of patterns into files, by the symmetry of the patterns.

    Args:
        inputs: As for `denoise_series`.
        output: The file to write.
        settings: What to decide by hand; by default nothing.
        progress: Called with the frames done and their number.
        dry_run: Whether to settle everything, but write nothing.

    Raises:
        FileError: A file cannot be read or written; nothing is left behind.
        ValueError: The data refuse the symmetry that was named, a setting makes no
            sense, or a file of weights is none.
    """
    settings = settings or SymmetrySettings()
    with open_input(inputs, settings) as series:
        centre = wanted_centre(settings, series.metadata.beam_center, series.names[0])
    method = _Method(settings, centre)
    outcome = denoise_series(
        inputs, output, settings, denoise=method, progress=progress, dry_run=dry_run
    )
    example, profile = outcome.example, None
    if method.choice.centre is not None:
        variance = np.asarray(outcome.choice.noise.variance(np.float32(example.after)))
        profile = ring_means(
            example.before, example.after, variance, example.mask, method.choice.centre
        )
    return SymmetryOutcome(outcome, method.choice, profile, method.num_alone)


def wanted_centre(
    settings: SymmetrySettings | TrainingSettings,
    known: tuple[float, float] | None,
    name: str,
) -> str | tuple[float, float]:
    """Return the centre that is asked for, or "auto".

    Raises:
        FileError: It is that of a file that has none.
    """
    if settings.centre != "file":
        return parse_centre(settings.centre) or "auto"
    if known is None:
        raise FileError(
            f"{name} does not tell the beam centre: pass --centre Y,X or auto."
        )
    return known


def load_weights(path: str) -> object:
    """Return the network in a file of weights.

    Raises:
        FileError: There is no such file.
        ValueError: The file is none, is damaged or of another version.
    """
    from tvjax.learning import load_counts  # loads jax

    if not Path(path).exists():
        raise FileError(f"{path} does not exist: check the name.")
    return load_counts(path)


def settle_symmetry(
    frames: Frames,
    mask: Bool[np.ndarray, "frame height width"],
    group: str,
    centre: str | tuple[float, float],
    noise: object,
) -> object:
    """Return the group and the centre that the sum of some frames speaks for.

    Raises:
        ValueError: The data refuse the symmetry that was named.
    """
    from tvjax.noise import estimate_noise  # loads jax
    from tvjax.symmetry import choose_symmetry

    valid = mask.all(axis=0)
    total = np.where(valid, frames, 0).sum(axis=0)
    if len(frames) > 1:
        whole = np.issubdtype(frames.dtype, np.integer)
        total = total.astype(np.int32 if whole else np.float32)
        noise = estimate_noise(total, valid)
    return choose_symmetry(total.astype(np.float32), group, centre, valid, noise)


def describe(choice: object) -> dict[str, object]:
    """Return a symmetry as plain values."""
    agreement = choice.agreement
    if agreement is None:
        return {"group": "none"}
    freedom = float(np.sum(agreement.freedom))
    smooth = {}
    if agreement.shading is not None:
        smooth = {
            "smooth_factor": float(np.std(agreement.shading)),
            "window": agreement.window,
            "share_of_the_mean": agreement.gain,
        }
    return {
        "group": agreement.group,
        "centre": list(choice.centre[:2]),
        "centre_error": list(choice.centre.error),
        "holds": bool(agreement.holds),
        "chi_squared_per_freedom": float(np.sum(agreement.chi_squared)) / freedom,
        "significance": agreement.significance,
        "broken_share": agreement.broken_share,
        **smooth,
    }


def ring_means(
    before: Num[np.ndarray, "height width"],
    after: Num[np.ndarray, "height width"],
    variance: Num[np.ndarray, "height width"],
    mask: Mask,
    centre: tuple[float, float],
) -> Profile:
    """Return the means over rings of one pixel that hold a valid pixel."""
    rows, columns = np.indices(before.shape)
    ring = np.rint(np.hypot(rows - centre[0], columns - centre[1])).astype(int)[mask]
    count = np.bincount(ring)
    seen = count > 0

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(ring, np.asarray(values, float)[mask])
        return sums[seen] / count[seen]

    return Profile(
        np.flatnonzero(seen).astype(float),
        mean(before),
        mean(after),
        np.sqrt(mean(variance) / count[seen]),
    )


class _Denoised(NamedTuple):
    """What `denoise_series` wants to know of some frames."""

    image: Num[np.ndarray, "frame height width"]
    noise: object
    alpha: Float[np.ndarray, " frame"]
    gap: Float[np.ndarray, " frame"]
    converged: Bool[np.ndarray, " frame"]
    at_bound: Bool[np.ndarray, " frame"]
    curve: None = None


class _Method:
    """Denoises frames one by one, all by the symmetry that the first ones have."""

    def __init__(self, settings: SymmetrySettings, centre: str | tuple[float, float]):
        self.choice = None
        self.num_alone = 0
        self._num_settled = 0  # frames that settled it
        self._settings = settings
        self._centre = centre
        self._network = None
        if settings.weights is not None:
            self._network = load_weights(settings.weights)

    def __call__(
        self,
        y: Frames,
        *,
        noise: object,
        alpha: float | None,
        mask: Bool[np.ndarray, "frame height width"],
        per_frame: bool,
        curve_points: int = 0,
    ) -> _Denoised:
        if self.choice is None:
            self.choice = settle_symmetry(
                y, mask, self._settings.group, self._centre, noise
            )
            self._num_settled = len(y)
        denoise = self._by_orbits if self._network is None else self._by_network
        done = [
            denoise(frame, noise, valid) for frame, valid in zip(y, mask, strict=True)
        ]
        images, *numbers = zip(*done, strict=True)
        return _Denoised(np.stack(images), noise, *map(np.array, numbers))

    def _by_orbits(self, frame: np.ndarray, noise: object, mask: Mask) -> tuple:
        from tvjax.frames import denoise
        from tvjax.symmetry import denoise_symmetric, Refused

        agreement = self.choice.agreement
        if agreement is None:
            found = denoise(frame, noise=noise, mask=mask)
        else:
            centre = tuple(self.choice.centre[:2])
            try:
                found = denoise_symmetric(frame, agreement.group, centre, noise, mask)
            except Refused:
                others_hold = self._num_settled > 1 and agreement.holds
                if self._settings.group != "auto" and not others_hold:
                    raise
                # one frame of many, that is not like the others
                found = denoise(frame, noise=noise, mask=mask)
                self.num_alone += 1
        return found.image, found.alpha, found.gap, found.converged, found.at_bound

    def _by_network(self, frame: np.ndarray, noise: object, mask: Mask) -> tuple:
        from tvjax.learning import predict

        if self.choice.agreement is None:
            raise ValueError(
                "the network needs a symmetry, and the data refuse them all: name one "
                "with --group, or take --method orbit."
            )
        image = predict(
            self._network,
            frame,
            self.choice.agreement.group,
            tuple(self.choice.centre[:2]),
            mask,
            average=self._settings.average,
        )
        return np.asarray(image), 0.0, 0.0, True, False
