"""Files of patterns made into denoised ones, by the symmetry that the patterns have.

Group and centre are settled once, on the sum of a few frames, which tells them best.
Then the frames stream as those of any scan do.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Num

from tvjax.frames import Curve, denoise as denoise_image, Weights
from tvjax.io import FileError
from tvjax.io.reading import Paths
from tvjax.learning import CountNetwork, load_counts, predict
from tvjax.noise import estimate_noise, Noise
from tvjax.pipeline.frames import denoise_files
from tvjax.pipeline.frames_outcome import DenoisedPatterns, FramesOutcome
from tvjax.pipeline.input import open_input
from tvjax.pipeline.outcome import AbstractOutcome
from tvjax.pipeline.streaming import no_progress, Progress
from tvjax.settings import parse_centre, SymmetrySettings, TrainingSettings
from tvjax.symmetry import Choice, choose_symmetry, denoise_symmetric, Refused

Frames: TypeAlias = Num[np.ndarray, "frame height width"]
Mask: TypeAlias = Bool[np.ndarray, "height width"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SymmetryOutcome(AbstractOutcome):
    """What became of the files, and which symmetry it was by.

    Attributes:
        denoised: What became of the frames.
        choice: Centre and agreement.
        num_alone: Number of frames that refuse the symmetry, and were denoised by
            themselves.
    """

    denoised: FramesOutcome
    choice: Choice
    num_alone: int

    def facts(self) -> dict[str, str]:
        """The symmetry, then all that is to say of the frames, a sentence each."""
        agreement = self.choice.agreement
        found = "none that the data do not refuse"
        if agreement is not None:
            found = agreement.report()
        return {"symmetry": found, **self.denoised.facts()}

    def numbers(self) -> dict[str, Any]:
        """What there is to know of the frames, and of their symmetry."""
        facts = describe_symmetry(self.choice) | {"frames_alone": self.num_alone}
        return self.denoised.numbers() | {"symmetry": facts}


def denoise_symmetric_files(
    inputs: Paths,
    output: str | PathLike[str],
    settings: SymmetrySettings | None = None,
    *,
    progress: Progress = no_progress,
    dry_run: bool = False,
) -> SymmetryOutcome:
    """Denoise files of patterns into files, by the symmetry of the patterns.

    Args:
        inputs: As for `denoise_files`.
        output: The file to write.
        settings: What to decide by hand; by default nothing.
        progress: Called with the frames done and their number.
        dry_run: Whether to settle everything, but write nothing.

    Returns:
        What was done, and by which symmetry.

    Raises:
        FileError: A file cannot be read or written; nothing is left behind.
        ValueError: The data refuse the symmetry that was named, a setting makes no
            sense, or a file of weights is none.
    """
    settings = settings or SymmetrySettings()
    with open_input(inputs, settings) as series:
        centre = wanted_centre(settings, series.metadata.beam_centre, series.names[0])
    denoiser = _SymmetricDenoiser(settings, centre)
    denoised = denoise_files(
        inputs, output, settings, denoise=denoiser, progress=progress, dry_run=dry_run
    )
    records, choice = denoised.records, denoised.choice
    num_alone = sum(record.alone for record in records)
    told = [record.told for record in records]
    if not records and isinstance(choice, DenoisedPatterns):
        num_alone, told = int(np.count_nonzero(choice.alone)), choice.told
    return SymmetryOutcome(
        output=denoised.output,
        source=denoised.source,
        warnings=(*_doubts(num_alone, told), *denoised.warnings),
        seconds=denoised.seconds,
        denoised=denoised,
        choice=denoiser.choice,
        num_alone=num_alone,
    )


def wanted_centre(
    settings: SymmetrySettings | TrainingSettings,
    known: tuple[float, float] | None,
    name: str,
) -> str | tuple[float, float]:
    """Return the centre that is asked for, or "auto".

    Args:
        settings: What the user decided.
        known: Beam centre (y, x) that the input tells, in pixels.
        name: Name of the input, for the sentence.

    Returns:
        The centre (y, x) in pixels, or "auto".

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


def load_weights(path: str) -> CountNetwork:
    """Return the network in a file of weights.

    Raises:
        FileError: There is no such file.
        ValueError: The file is none, is damaged or of another version.
    """
    if not Path(path).exists():
        raise FileError(f"{path} does not exist: check the name.")
    return load_counts(path)


def settle_symmetry(
    frames: Frames,
    mask: Bool[np.ndarray, "frame height width"],
    group: str,
    centre: str | tuple[float, float],
    noise: Noise,
) -> Choice:
    """Return the group and the centre that the sum of some frames speaks for.

    Args:
        frames: Patterns; integers are counts.
        mask: True where a pixel is valid.
        group: A name that `tvjax.symmetry.find_group` knows, or "auto".
        centre: Centre (y, x) in pixels, or "auto".
        noise: Noise model of one frame.

    Returns:
        Centre and agreement.

    Raises:
        ValueError: The data refuse the symmetry that was named.
    """
    valid = mask.all(axis=0)
    total = np.where(valid, frames, 0).sum(axis=0)
    if len(frames) > 1:
        whole = np.issubdtype(frames.dtype, np.integer)
        total = total.astype(np.int32 if whole else np.float32)
        noise = estimate_noise(total, valid)
    return choose_symmetry(
        total.astype(np.float32), noise=noise, group=group, centre=centre, mask=valid
    )


def describe_symmetry(choice: Choice) -> dict[str, Any]:
    """Return a symmetry in types that JSON knows."""
    centre, agreement = choice
    if centre is None or agreement is None:
        return {"group": "none"}
    return {
        "group": agreement.group.name,
        "centre": list(centre.place),
        "centre_error": list(centre.error),
        **agreement.asdict(),
    }


class _Pattern(NamedTuple):
    """One pattern denoised, with what files need to know of it."""

    image: Num[np.ndarray, "height width"]
    alpha: float
    relative_gap: float
    converged: bool
    at_bound: bool
    told: tuple[str, ...] = ()
    alone: bool = False  # it refuses the symmetry that the others have


@dataclass(frozen=True, eq=False)
class _Patterns:
    """Denoised patterns, with what files need to know of them."""

    image: Num[np.ndarray, "frame height width"]
    alpha: Float[np.ndarray, " frame"]
    relative_gap: Float[np.ndarray, " frame"]
    converged: Bool[np.ndarray, " frame"]
    at_bound: Bool[np.ndarray, " frame"]
    alone: Bool[np.ndarray, " frame"]
    curve: Curve | None = None
    alpha_error: None = None
    protection: None = None
    told: Sequence[tuple[str, ...]] = ()  # warnings about each
    # those of all frames are told at the end
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: Sequence[_Pattern]) -> "_Patterns":
        """Return several patterns as one."""
        return cls(
            image=np.stack([pattern.image for pattern in patterns]),
            alpha=np.array([pattern.alpha for pattern in patterns]),
            relative_gap=np.array([pattern.relative_gap for pattern in patterns]),
            converged=np.array([pattern.converged for pattern in patterns]),
            at_bound=np.array([pattern.at_bound for pattern in patterns]),
            alone=np.array([pattern.alone for pattern in patterns]),
            told=[pattern.told for pattern in patterns],
        )


def _doubts(num_alone: int, told: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a sentence for each kind of warning about single frames.

    Args:
        num_alone: Number of frames that refuse the symmetry of the others.
        told: Warnings about each frame.
    """
    if num_alone:
        yield (
            f"{num_alone} frames refuse the symmetry that the first ones "
            "have: TV alone has denoised them"
        )
    kinds: dict[str, list[str]] = {}
    for warning in itertools.chain.from_iterable(told):
        kind = warning.partition(":")[0]  # behind it are the numbers of a frame
        kinds.setdefault(kind, []).append(warning)
    for warnings in kinds.values():
        if len(told) == 1:
            yield warnings[0]
        else:
            yield f"in {len(warnings)} of {len(told)} frames {warnings[0]}"


class _SymmetricDenoiser:
    """Denoises frames one by one, all by the symmetry that the first ones have."""

    def __init__(
        self, settings: SymmetrySettings, centre: str | tuple[float, float]
    ) -> None:
        self.choice = Choice(None, None)
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
        noise: Noise,
        alpha: float | None,
        mask: Bool[np.ndarray, "frame height width"],
        per_frame: bool,
        weights: Weights | None = None,
        repeats: bool = False,
        protect: bool | float = True,
        curve_points: int = 0,
    ) -> _Patterns:
        """Denoise frames, the first call being that which settles the symmetry.

        Orbits keep their own spots, and have no strength to weigh errors for.
        """
        del weights, repeats, protect
        if not self._num_settled:
            self.choice = settle_symmetry(
                y, mask, self._settings.group, self._centre, noise
            )
            self._num_settled = len(y)
        patterns: list[_Pattern] = []
        for index, (frame, valid) in enumerate(zip(y, mask, strict=True)):
            if index and np.array_equal(frame, y[index - 1]):
                patterns.append(patterns[-1])  # a batch is filled up with its last one
                continue
            pattern = (
                self._by_orbits(frame, noise, valid)
                if self._network is None
                else self._by_network(self._network, frame, valid)
            )
            patterns.append(pattern)
        return _Patterns.of(patterns)

    def _by_orbits(
        self, frame: Num[np.ndarray, "height width"], noise: Noise, mask: Mask
    ) -> _Pattern:
        centre, agreement = self.choice
        alone = False
        if centre is None or agreement is None:
            found = denoise_image(frame, noise=noise, mask=mask)
        else:
            try:
                found = denoise_symmetric(
                    frame,
                    group=agreement.group.name,
                    centre=centre[:2],
                    noise=noise,
                    mask=mask,
                )
            except Refused:
                others_hold = self._num_settled > 1 and agreement.holds
                if self._settings.group != "auto" and not others_hold:
                    raise
                # one frame of many, that is not like the others
                found = denoise_image(frame, noise=noise, mask=mask)
                alone = True
        return _Pattern(
            np.asarray(found.image),
            float(found.alpha),
            float(found.relative_gap),
            bool(found.converged),
            bool(found.at_bound),
            found.warnings,
            alone,
        )

    def _by_network(
        self, network: CountNetwork, frame: Num[np.ndarray, "height width"], mask: Mask
    ) -> _Pattern:
        centre, agreement = self.choice
        if centre is None or agreement is None:
            raise ValueError(
                "the network needs a symmetry, and the data refuse them all: name one "
                "with --group, or take --method orbit."
            )
        image = predict(
            network,
            frame,
            group=agreement.group,
            centre=centre[:2],
            mask=mask,
            average=self._settings.average,
        )
        return _Pattern(np.asarray(image), 0.0, 0.0, True, False)
