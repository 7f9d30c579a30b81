"""A series that is still being measured, denoised frame by frame as it comes.

Noise and strength are chosen from its first frames, and hold for all. What each frame
becomes is kept on the disk until the end, when the input is whole: then the output is
written as that of any other scan.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from tvjax.frames import denoise as denoise_images
from tvjax.io import create_series, FileError, Frame, is_folder, Series
from tvjax.io.output_names import name_of_output
from tvjax.io.reading import Paths
from tvjax.io.spool import Spool
from tvjax.io.watching import Growing, watch
from tvjax.noise import Noise
from tvjax.pipeline.arrivals import Arrivals, ended_by_interruption
from tvjax.pipeline.frames import (
    CURVE_POINTS,
    denoise_files,
    DenoiseFrames,
    protects,
)
from tvjax.pipeline.frames_outcome import DenoisedFrames, FramesOutcome, Record
from tvjax.pipeline.input import (
    admitted,
    images_and_masks,
    named_files,
    noise_model,
    SAMPLES,
)
from tvjax.pipeline.replay import Replay
from tvjax.pipeline.streaming import no_progress, Progress
from tvjax.settings import Settings, SettingsError

# Bytes of frames that are read at once, after which the files are let go.
AT_ONCE = 2**28


def denoise_watched(
    inputs: Paths,
    output: str | PathLike[str],
    settings: Settings | None = None,
    *,
    timeout: float,
    denoise: DenoiseFrames = denoise_images,
    progress: Progress = no_progress,
) -> FramesOutcome:
    """Denoise frames as they come, and write them when no more do.

    The end is when all frames are there that the file announces, when nothing new came
    for some time, or an interruption (Ctrl-C), after which what has come is finished; a
    second one leaves nothing.

    Args:
        inputs: A file that is being written, a folder that fills, or a pattern; see
            `tvjax.io.watching.watch`.
        output: The file to write, or a folder for it.
        settings: What to decide by hand; by default nothing.
        timeout: Seconds to wait for the next frame.
        denoise: What to do with frames; by default `tvjax.denoise`.
        progress: Called with the frames done and their number so far.

    Returns:
        What was done.

    Raises:
        FileError: No frame came, or a file cannot be read or written; nothing is left.
        SettingsError: A setting makes no sense, or not for what is still to come.
    """
    start_time = time.monotonic()
    settings = settings or Settings()
    _check(settings, timeout)
    with (
        ended_by_interruption() as ended,
        contextlib.ExitStack() as held,
        contextlib.ExitStack() as claimed,
    ):
        growing = watch(inputs, settings.dataset)
        arrivals = Arrivals(growing, timeout, ended)
        come = arrivals.wait(SAMPLES)
        if come == 0:
            if ended.is_set():
                raise KeyboardInterrupt
            raise FileError(_nothing_came(inputs, growing, timeout))
        like, target = _begin(growing, come, settings, output, claimed)
        sample = _first_frames(growing, min(come, SAMPLES), like)
        method = _Chosen.by(sample, settings, denoise, like.metadata.detector)
        spool = held.enter_context(contextlib.closing(Spool(target, like.shape)))
        records: list[Record | None] = []  # None for a frame without a valid pixel
        while (come := arrivals.wait(len(records) + 1)) > len(records):
            size = like.shape[0] * like.shape[1] * like.dtype.itemsize
            stop = min(come, len(records) + max(1, AT_ONCE // size))
            for frame in growing.take(len(records), stop, like):
                records.append(method.keep(frame, spool))
                progress(len(records), growing.expected or come)
        order = list(growing.order())[: len(records)]
        claimed.close()
        outcome = denoise_files(
            inputs,
            target,
            dataclasses.replace(settings, frames=_range(like, len(records))),
            denoise=Replay(method.choice, spool, records, order),
            open_frames=lambda *_: admitted(growing.open(), settings).as_before(like),
            choose_sample=lambda *_: _in_order(sample, order),
        )
    notes = _notes(growing, arrivals, len(records), len(sample))
    return dataclasses.replace(
        outcome,
        source=(
            f"{outcome.source}, watched, noise and strength by the first "
            f"{len(sample)} frames"
        ),
        warnings=(*notes, *outcome.warnings),
        seconds=time.monotonic() - start_time,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Chosen:
    """How every frame is denoised, as the first ones have chosen."""

    choice: DenoisedFrames
    noise: Noise
    denoise: DenoiseFrames
    settings: Settings

    @classmethod
    def by(
        cls,
        sample: list[Frame],
        settings: Settings,
        denoise: DenoiseFrames,
        detector: str | None,
    ) -> "_Chosen":
        """Choose noise and strength from some frames."""
        images, mask = images_and_masks(sample)
        noise, _ = noise_model(
            settings.noise, images, mask, detector=detector, repeats=settings.repeats
        )
        choice = denoise(
            images,
            noise=noise,
            alpha=settings.alpha,
            mask=mask,
            per_frame=settings.per_frame,
            weights=settings.weighting,
            repeats=settings.repeats,
            protect=protects(settings),
            curve_points=CURVE_POINTS,
        )
        return cls(choice=choice, noise=noise, denoise=denoise, settings=settings)

    def keep(self, frame: Frame, spool: Spool) -> Record | None:
        """Denoise a frame and keep what it becomes; nothing if no pixel is valid."""
        if not frame.mask.any():
            return None
        images, mask = images_and_masks([frame])
        given = self.choice.protection
        by_frame = self.settings.per_frame
        result = self.denoise(
            images,
            noise=self.noise,
            alpha=None if by_frame else float(self.choice.alpha),
            mask=mask,
            per_frame=by_frame,
            weights=self.settings.weighting,
            repeats=False,  # they have chosen
            protect=protects(self.settings) if by_frame or given is None else given,
        )
        spool.append(np.asarray(result.image)[0])
        alpha, gap, converged = (
            np.ravel(np.asarray(value))[0]
            for value in (result.alpha, result.relative_gap, result.converged)
        )
        return Record(float(alpha), float(gap), bool(converged))


def _check(settings: Settings, timeout: float) -> None:
    """Raise `SettingsError` for what cannot be asked of frames that are to come."""
    if not 0 < timeout < threading.TIMEOUT_MAX:
        raise SettingsError(
            f"`watch` must be a positive number of seconds, got {timeout:g}."
        )
    if settings.frames is not None:
        raise SettingsError("`frames` are not known while they come: drop it or watch.")
    if settings.resume:
        raise SettingsError(
            "`resume` goes on with files that are complete: drop it or watch."
        )


def _begin(
    growing: Growing,
    come: int,
    settings: Settings,
    output: str | PathLike[str],
    claimed: contextlib.ExitStack,
) -> tuple[Series, Path]:
    """Return the series as it is first seen, its files closed, and the output's name.

    The output is claimed until `claimed` ends, and what stands in its way is told now.
    """
    with admitted(growing.open(), settings) as like:
        target = Path(output)
        if is_folder(output):
            files = like.files if like.layout is None else like.files[:1]
            target /= name_of_output(files, growing=like.layout is None)
        claim = create_series(
            target,
            like,
            stop=come,
            dtype=settings.dtype,
            scale=settings.scale,
            overwrite=settings.overwrite,
            emit=settings.emit,
            reads=named_files(settings),
        )
        claimed.enter_context(claim)
        return like, target


def _first_frames(growing: Growing, number: int, like: Series) -> list[Frame]:
    """Return the first frames that have a valid pixel.

    Raises:
        FileError: None of them has.
    """
    frames = growing.take(0, number, like)
    sample = [frame for frame in frames if frame.mask.any()]
    if not sample:
        raise FileError(
            f"{like.names[0]} has no valid pixel in its first {number} frames: check "
            "the mask and the marks of invalid pixels."
        )
    return sample


def _in_order(sample: list[Frame], order: Sequence[int]) -> list[Frame]:
    """Return frames with their positions in the series, not as they came."""
    return [dataclasses.replace(f, index=order.index(f.index)) for f in sample]


def _range(like: Series, number: int) -> str | None:
    """Return the frames of a file that have come; of a folder all have."""
    return None if like.layout is None else f"0:{number}"


def _nothing_came(inputs: Paths, growing: Growing, timeout: float) -> str:
    """Return a sentence about an input of which there is no frame."""
    names = [inputs] if isinstance(inputs, str | PathLike) else list(inputs)
    why = next(iter(growing.doubts), "name a file that is being written, or a folder.")
    return f"{names[0]} gave no frame within {timeout:g} s: {why}"


def _notes(
    growing: Growing, arrivals: Arrivals, number: int, num_chosen: int
) -> Iterator[str]:
    """Yield a sentence for each thing that did not go as it might have."""
    expected = growing.expected
    if expected is not None and number < expected:
        yield (
            f"{number} of the {expected} frames came that the file announces, and the "
            "rest is missing: denoise it again when it is complete."
        )
    if arrivals.ended.is_set():
        yield f"an interruption ended the watch after {number} frames."
    if num_chosen < SAMPLES:
        yield (
            f"noise and strength were chosen from {num_chosen} frames, since no more "
            "had come."
        )
    yield from growing.doubts
