"""How does a file of noisy frames become a file of denoised ones?

The noise model and the strength are chosen once, from a few frames spread over the
scan. Then frames stream: one thread reads ahead, this one denoises, one compresses
and writes, and memory holds a handful of frames however long the scan is.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Num

from tvjax.io import (
    create_series,
    fit_scale,
    Frame,
    Provenance,
    Series,
    SeriesWriter,
    Tally,
)
from tvjax.pipeline.frames_outcome import describe_noise, Example, Outcome, Record
from tvjax.pipeline.input import (
    describe_series,
    frame_range,
    gather,
    noise_model,
    open_input,
    sample_frames,
)
from tvjax.pipeline.streaming import read_ahead, write_behind
from tvjax.settings import Settings

CURVE_POINTS = 11
"""Strengths at which the risk is computed for the report."""

BATCH_PIXELS = 2**24
"""Pixels that an accelerator gets at a time; a processor gets one frame."""

KEPT = 1e-3
"""Relative change of the total counts that is not worth a warning."""


class Denoise(Protocol):
    """What `tvjax.denoise` does, as far as files need it."""

    def __call__(
        self,
        y: Num[np.ndarray, "*frame height width"],
        *,
        noise: object,
        alpha: float | None,
        mask: Bool[np.ndarray, "*frame height width"],
        per_frame: bool,
    ) -> object: ...


def denoise_series(
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    settings: Settings | None = None,
    *,
    denoise: Denoise | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    dry_run: bool = False,
) -> Outcome:
    """Denoise files into files.

    Args:
        inputs: A master or another HDF5 file, or one or more image files; see
            `tvjax.io.open_series`.
        output: The file to write; see `tvjax.io.create_series`.
        settings: What to decide by hand; by default nothing.
        denoise: What to do with frames; by default `tvjax.denoise`.
        progress: Called with the frames done and their number.
        dry_run: Whether to choose noise and strength, but write nothing.

    Returns:
        What was done.

    Raises:
        FileError: A file cannot be read or written; nothing is left behind.
        ValueError: The frames cannot be denoised, or a setting makes no sense.
    """
    start_time = time.monotonic()
    settings = settings or Settings()
    denoise = denoise or _default_denoise()
    with open_input(inputs, settings) as series:
        frames = frame_range(series, settings.frames)
        create = functools.partial(
            create_series,
            output,
            series,
            start=frames.start,
            stop=frames.stop,
            dtype=settings.dtype,
            overwrite=settings.overwrite,
            emit=settings.emit,
        )
        # What would fail at the start of writing shall fail before the work.
        with create(scale=settings.scale) as rehearsal:
            integers = rehearsal.encoding.dtype.kind != "f"
        sample = sample_frames(series, frames)
        choice = _choose(sample, settings, denoise)
        scale = settings.scale
        if scale is None and integers:
            scale = _fit_scale(series, sample, choice)
        with create(scale=scale) as writer:
            records: list[Record] = []
            if not dry_run:
                done = (
                    _unstack(sample, choice)
                    if len(sample) == len(frames)
                    else _denoise_all(series, frames, denoise, choice, settings)
                )
                records = _write_all(
                    done, writer, lambda count: progress(count, len(frames))
                )
                resolved = dataclasses.asdict(settings) | {
                    "dtype": writer.encoding.dtype.name,
                    "scale": writer.encoding.scale,
                }
                writer.finish(
                    Provenance(
                        settings=resolved,
                        inputs=series.names,
                        frames=(frames.start, frames.stop),
                        noise=describe_noise(choice.noise),
                        results={
                            "alpha": [record.alpha for record in records],
                            "gap": [record.gap for record in records],
                            "converged": [record.converged for record in records],
                        },
                    )
                )
        return Outcome(
            output=Path(output),
            source=describe_series(series),
            frames=(frames.start, frames.stop),
            choice=choice,
            records=tuple(records),
            tally=writer.tally,
            scale=writer.encoding.scale,
            warnings=tuple(_warnings(sample, choice, records, writer.tally)),
            seconds=time.monotonic() - start_time,
            example=_example(sample, choice),
        )


_Done = tuple[Frame, Num[np.ndarray, "height width"], Record]
"""A frame, what it becomes, and how."""


class _Method(NamedTuple):
    """How every frame of a series is denoised."""

    denoise: Denoise
    noise: object
    alpha: float | None
    batch_size: int


def _default_denoise() -> Denoise:
    from tvjax.frames import denoise  # loads jax

    return denoise


def _choose(sample: list[Frame], settings: Settings, denoise: Denoise) -> object:
    """Return the result on the sample."""
    images, mask = gather(sample)
    return denoise(
        images,
        noise=noise_model(settings.noise, images, mask),
        alpha=settings.alpha,
        mask=mask,
        per_frame=settings.per_frame,
        curve_points=CURVE_POINTS,
    )


def _fit_scale(series: Series, sample: list[Frame], choice: object) -> int:
    """Return a scale that keeps the total counts and every count a pixel can have."""
    largest = series.metadata.saturation
    if largest is None:
        # Other frames can have brighter spots than the sample.
        largest = 4 * max(np.max(f.data, where=f.mask, initial=0) for f in sample)
    mask = np.stack([frame.mask for frame in sample])
    return fit_scale(np.asarray(choice.image), mask, largest=float(largest))


def _example(sample: list[Frame], choice: object) -> Example:
    """Return the middle frame of the sample before and after."""
    images, mask = gather(sample)
    middle = len(sample) // 2
    after = np.asarray(choice.image)[middle]
    return Example(sample[middle].index, images[middle], after, mask[middle])


def _denoise_all(
    series: Series,
    frames: range,
    denoise: Denoise,
    choice: object,
    settings: Settings,
) -> Iterator[_Done]:
    """Yield each frame with what it becomes, reading ahead."""
    alpha = None if settings.per_frame else float(choice.alpha)
    method = _Method(denoise, choice.noise, alpha, _batch_size(series.shape))
    source = _batches(series.frames(frames.start, frames.stop), method.batch_size)
    with closing(read_ahead(source)) as batches:
        for batch in batches:
            yield from _denoised(batch, method)


def _write_all(
    done: Iterator[_Done], writer: SeriesWriter, progress: Callable[[int], None]
) -> list[Record]:
    """Write frames behind the back of what denoises them, and return their records."""
    records: list[Record] = []
    with closing(done), write_behind(writer.write) as write:
        for frame, image, record in done:
            write(image, frame)
            records.append(record)
            progress(len(records))
    return records


def _denoised(batch: list[Frame], method: _Method) -> Iterator[_Done]:
    """Yield each frame of a batch with what it becomes, in order."""
    seen = [frame for frame in batch if frame.mask.any()]
    done: Iterator[_Done] = iter(())
    if seen:
        # A batch is filled up, as another shape would be compiled anew.
        fill = [seen[-1]] * (method.batch_size - len(seen))
        images, mask = gather(seen + fill)
        result = method.denoise(
            images,
            noise=method.noise,
            alpha=method.alpha,
            mask=mask,
            per_frame=method.alpha is None,
        )
        done = _unstack(seen, result)
    for frame in batch:
        if frame.mask.any():
            yield next(done)
        else:
            yield frame, np.zeros(frame.data.shape), Record(0.0, 0.0, True)


def _unstack(frames: list[Frame], result: object) -> Iterator[_Done]:
    """Yield each of `frames` with its image and its record in a result."""
    images = np.asarray(result.image)
    alpha, gap, converged = (
        np.broadcast_to(np.asarray(value), len(images))
        for value in (result.alpha, result.gap, result.converged)
    )
    for index, frame in enumerate(frames):
        record = Record(float(alpha[index]), float(gap[index]), bool(converged[index]))
        yield frame, images[index], record


def _batch_size(shape: tuple[int, int]) -> int:
    import jax  # starts the device

    if jax.default_backend() == "cpu":
        return 1
    return max(1, BATCH_PIXELS // (shape[0] * shape[1]))


def _batches(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    while batch := list(islice(frames, size)):
        yield batch


def _warnings(
    sample: list[Frame], choice: object, records: list[Record], tally: Tally
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
    if np.any(choice.at_bound):
        yield (
            "alpha ended at the end of its range, where the risk has no minimum: "
            "check the noise model and the mask."
        )
    stopped = sum(not record.converged for record in records)
    if stopped:
        yield f"{stopped} frames did not reach the tolerance of the solver."
    if tally.counts_in and abs(tally.counts_out / tally.counts_in - 1) > KEPT:
        yield "The total counts changed by more than 0.1 %."
    if tally.negative:
        yield (
            f"{tally.negative} negative pixels were written as zero: "
            "--dtype float32 keeps them."
        )
    background, deviation = _background(sample, choice.noise)
    strongest = max([*np.ravel(np.asarray(choice.alpha)), *(r.alpha for r in records)])
    if strongest > deviation > 0:
        yield (
            f"alpha {strongest:.3g} is above the noise {deviation:.3g} of the "
            f"background ({background:.3g}): weak spots lose intensity, "
            "so integrate the raw data too."
        )


def _background(sample: list[Frame], noise: object) -> tuple[float, float]:
    """Return the background and the standard deviation of its noise."""
    values = np.concatenate([frame.data[frame.mask] for frame in sample])
    background = float(np.median(values)) or float(np.mean(values))
    variance = np.max(np.asarray(noise.variance(np.float32(background))))
    return background, float(np.sqrt(max(variance, 0.0)))
