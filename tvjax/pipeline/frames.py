"""A file of noisy frames made into a file of denoised ones.

The noise model and the strength are chosen once, from a few frames spread over the
scan. Then frames stream: one thread reads ahead, this one denoises, one compresses
and writes, and memory holds a handful of frames however long the scan is.
"""

import functools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable, TypeAlias

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Num

from tvjax.frames import denoise as denoise_images, Weights
from tvjax.io import (
    create_series,
    FileError,
    fit_scale,
    Frame,
    Provenance,
    Series,
    SeriesWriter,
    Tally,
)
from tvjax.io.journal import check_journal, Header, unfinished_run
from tvjax.io.reading import Paths
from tvjax.noise import describe_noise, Noise
from tvjax.pipeline.frames_outcome import (
    DenoisedFrames,
    DenoisedPatterns,
    Example,
    FramesOutcome,
    Record,
    RECORDED,
)
from tvjax.pipeline.input import (
    describe_series,
    frame_range,
    images_and_masks,
    named_files,
    noise_model,
    open_input,
    sample_frames,
)
from tvjax.pipeline.left import leave, leave_all, LEFT
from tvjax.pipeline.resuming import (
    describe_run,
    digest_of,
    Encoded,
    FrameKeeper,
    kept_frames,
    recorded,
    resumed_in_words,
    telling_what_is_kept,
)
from tvjax.pipeline.streaming import no_progress, Progress, read_ahead, write_behind
from tvjax.result import short
from tvjax.settings import Settings

# Strengths at which the risk is computed for the report: enough for a smooth curve.
CURVE_POINTS = 9

# Pixels that an accelerator gets at a time, enough to keep it busy; a processor gets
# one frame.
BATCH_PIXELS = 2**24

# A relative change of the total counts by no more than this is not worth a warning.
KEPT = 1e-3


# Opens inputs as a series, and takes some of its frames for the choice.
OpenFrames: TypeAlias = Callable[[Paths, Settings], Series]
ChooseSample: TypeAlias = Callable[[Series, range], list[Frame]]


@runtime_checkable
class DenoiseFrames(Protocol):
    """What `tvjax.denoise` does, as far as files need it."""

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
        """Denoise some frames, with a strength of their own where none is given."""
        ...


def denoise_files(
    inputs: Paths,
    output: str | PathLike[str],
    settings: Settings | None = None,
    *,
    denoise: DenoiseFrames = denoise_images,
    open_frames: OpenFrames = open_input,
    choose_sample: ChooseSample = sample_frames,
    progress: Progress = no_progress,
    dry_run: bool = False,
) -> FramesOutcome:
    """Denoise files of frames into files.

    Args:
        inputs: A master or another HDF5 file, or one or more image files; see
            `tvjax.io.open_series`.
        output: The file to write; see `tvjax.io.create_series`.
        settings: What to decide by hand; by default nothing.
        denoise: What to do with frames; by default `tvjax.denoise`.
        open_frames: What opens the inputs.
        choose_sample: What takes the frames that noise and strength are chosen from.
        progress: Called with the frames done and their number.
        dry_run: Whether to choose noise and strength, but write nothing.

    Returns:
        What was done.

    Raises:
        FileError: A file cannot be read or written; nothing is left behind.
        ValueError: The frames cannot be denoised, or a setting makes no sense.
    """
    with telling_what_is_kept(Path(output)):
        return _denoise_files(
            inputs,
            Path(output),
            settings or Settings(),
            denoise,
            open_frames,
            choose_sample,
            progress,
            dry_run,
        )


def _denoise_files(
    inputs: Paths,
    output: Path,
    settings: Settings,
    denoise: DenoiseFrames,
    open_frames: OpenFrames,
    choose_sample: ChooseSample,
    progress: Progress,
    dry_run: bool,
) -> FramesOutcome:
    """Denoise files of frames into files."""
    start_time = time.monotonic()
    if settings.alpha == 0:
        denoise = leave
    with open_frames(inputs, settings) as series:
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
            reads=named_files(settings),
        )
        # What would fail at the start of writing shall fail before the work.
        with create(scale=settings.scale) as rehearsal:
            integers = rehearsal.encoding.dtype.kind != "f"
            run = describe_run(series, settings)
            unfinished = None
            if settings.resume:
                check_journal(output, run)
            else:
                unfinished = unfinished_run(output)
        if settings.repeats and len(frames) < 2:
            raise FileError(
                f"{series.names[0]} gives one frame, and `--repeats` needs two or more "
                "of one scene: name further files, or drop the option."
            )
        sample = choose_sample(series, frames)
        images, mask = images_and_masks(sample)
        noise, diagnosis = noise_model(
            settings.noise,
            images,
            mask,
            detector=series.metadata.detector,
            repeats=settings.repeats,
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
        scale = settings.scale
        if scale is None and integers:
            scale = _fit_scale(series, sample, choice)
        batch_size = _batch_size(series.shape)
        run["the choice of noise and strength"] = _choice_in_words(noise, choice, scale)
        header = Header(run, "frames", len(frames))
        with (
            (
                nullcontext()
                if dry_run
                else kept_frames(output, header, batch_size, resume=settings.resume)
            ) as keeper,
            create(scale=scale) as writer,
        ):
            records: list[Record] = []
            if keeper is not None:
                alpha = None if settings.per_frame else float(choice.alpha)
                # what the sample chose for its spots holds for all
                protect = choice.protection
                if settings.per_frame or protect is None:
                    protect = protects(settings)
                method = _Method(denoise, noise, alpha, protect, batch_size, settings)
                done = (
                    _unstack(sample, choice)
                    if len(sample) == len(frames)
                    else _denoise_all(series, frames, method, keeper)
                )
                records = _write_all(
                    done, writer, keeper, lambda count: progress(count, len(frames))
                )
                resolved = recorded(settings) | {
                    "dtype": writer.encoding.dtype.name,
                    "scale": writer.encoding.scale,
                }
                writer.finish(
                    Provenance(
                        settings=resolved,
                        inputs=series.names,
                        frames=(frames.start, frames.stop),
                        noise=describe_noise(noise),
                        results={
                            name: [getattr(record, name) for record in records]
                            for name in RECORDED
                        },
                    )
                )
        warnings = (
            *series.warnings,
            *(() if diagnosis is None else diagnosis.warnings),
            *choice.warnings,
            *_warnings(sample, choice, noise, records, writer.tally),
            *(() if unfinished is None else (unfinished,)),
            *(() if keeper is None else keeper.warnings()),
        )
        return FramesOutcome(
            output=output,
            source=describe_series(series),
            frames=(frames.start, frames.stop),
            noise=noise,
            diagnosis=diagnosis,
            choice=choice,
            records=tuple(records),
            tally=writer.tally,
            scale=writer.encoding.scale,
            warnings=warnings,
            seconds=time.monotonic() - start_time,
            example=_example(sample, choice),
            resumed=(
                resumed_in_words(keeper.num_recalled, "frames")
                if keeper is not None and settings.resume
                else None
            ),
        )


def protects(settings: Settings) -> bool:
    """Whether spots get a lower strength: a strength by hand is for all pixels."""
    return settings.protect and settings.alpha is None


class _Done(NamedTuple):
    """A frame, and what it becomes; or what it became in an earlier run."""

    frame: Frame
    image: Num[np.ndarray, "height width"] | None
    record: Record
    encoded: Encoded | None = None


class _Method(NamedTuple):
    """How every frame of a scan is denoised."""

    denoise: DenoiseFrames
    noise: Noise
    alpha: float | None
    protect: bool | float
    batch_size: int
    settings: Settings


def _fit_scale(series: Series, sample: list[Frame], choice: DenoisedFrames) -> int:
    """Return a scale that keeps the total counts and every count a pixel can have."""
    largest = series.metadata.saturation
    if largest is None:
        # Other frames can have brighter spots than the sample.
        largest = 4 * max(
            float(np.max(f.data, where=f.mask, initial=0)) for f in sample
        )
    mask = np.stack([frame.mask for frame in sample])
    return fit_scale(np.asarray(choice.image), mask, largest=float(largest))


def _example(sample: list[Frame], choice: DenoisedFrames) -> Example:
    """Return the middle frame of the sample before and after."""
    images, mask = images_and_masks(sample)
    middle = len(sample) // 2
    after = np.asarray(choice.image)[middle]
    return Example(sample[middle].index, images[middle], after, mask[middle])


def _choice_in_words(noise: Noise, choice: DenoisedFrames, scale: int | None) -> str:
    """Return what was chosen, to the last bit of the images that it gave."""
    chosen = (noise, choice.image, choice.alpha, choice.protection)
    alpha = short(np.asarray(choice.alpha))
    return f"alpha {alpha}, scale {scale}, {digest_of(chosen)[:12]}"


def _denoise_all(
    series: Series, frames: range, method: _Method, keeper: FrameKeeper
) -> Generator[_Done, None, None]:
    """Yield each frame with what it becomes or has become, reading ahead."""
    all_frames = series.frames(frames.start, frames.stop)
    if method.alpha == 0:
        for frame, image, record in leave_all(all_frames):
            yield _Done(frame, image, record)
        return
    source = _batches(all_frames, method.batch_size)
    with closing(read_ahead(source)) as batches:
        for batch in batches:
            kept = keeper.recall(batch)
            if kept is None:
                yield from _denoised(batch, method)
            else:
                for frame, encoded in zip(batch, kept, strict=True):
                    yield _Done(frame, None, encoded.record, encoded)


def _write_all(
    done: Generator[_Done, None, None],
    writer: SeriesWriter,
    keeper: FrameKeeper,
    progress: Callable[[int], None],
) -> list[Record]:
    """Write frames while the next ones are denoised, and return their records."""
    records: list[Record] = []

    def write(each: _Done) -> None:
        frame, image, record, encoded = each
        if image is not None:
            encoded = Encoded(*writer.encode(image, frame), record)
            keeper.keep(frame, encoded)
        assert encoded is not None
        writer.append(encoded.stored, encoded.tally, frame)

    with closing(done), write_behind(write) as write_later:
        for each in done:
            write_later(each)
            records.append(each.record)
            progress(len(records))
    return records


def _denoised(batch: list[Frame], method: _Method) -> Iterator[_Done]:
    """Yield each frame of a batch with what it becomes, in order."""
    seen = [frame for frame in batch if frame.mask.any()]
    done: Iterator[_Done] = iter(())
    if seen:
        # A batch is filled up, as another shape would be compiled anew.
        fill = [seen[-1]] * (method.batch_size - len(seen))
        images, mask = images_and_masks(seen + fill)
        result = method.denoise(
            images,
            noise=method.noise,
            alpha=method.alpha,
            mask=mask,
            per_frame=method.alpha is None,
            weights=method.settings.weighting,
            repeats=False,  # they have chosen
            protect=method.protect,
        )
        done = _unstack(seen, result)
    for frame in batch:
        if frame.mask.any():
            yield next(done)
        else:
            yield _Done(frame, np.zeros(frame.data.shape), LEFT)


def _unstack(
    frames: list[Frame], result: DenoisedFrames
) -> Generator[_Done, None, None]:
    """Yield each of `frames` with its image and its record in a result."""
    images = np.asarray(result.image)
    alpha, gap, converged = (
        np.broadcast_to(np.asarray(value), len(images))
        for value in (result.alpha, result.relative_gap, result.converged)
    )
    alone = np.zeros(len(images), bool)
    told: Sequence[tuple[str, ...]] = [()] * len(images)
    if isinstance(result, DenoisedPatterns):
        alone, told = result.alone, result.told
    for index, frame in enumerate(frames):
        yield _Done(
            frame,
            images[index],
            Record(
                float(alpha[index]),
                float(gap[index]),
                bool(converged[index]),
                bool(alone[index]),
                told[index],
            ),
        )


def _batch_size(shape: tuple[int, int]) -> int:
    """Frames that are denoised at a time."""
    if jax.default_backend() == "cpu":
        return 1
    return max(1, BATCH_PIXELS // (shape[0] * shape[1]))


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Yield the frames in lists of `size`, the last one perhaps shorter."""
    source = iter(frames)
    while batch := list(islice(source, size)):
        yield batch


def _warnings(
    sample: list[Frame],
    choice: DenoisedFrames,
    noise: Noise,
    records: list[Record],
    tally: Tally,
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
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
    strongest = max([*np.ravel(np.asarray(choice.alpha)), *(r.alpha for r in records)])
    if strongest == 0:
        return
    background, deviation = _background(sample, noise)
    if strongest > deviation > 0:
        yield (
            f"alpha {strongest:.3g} is above the noise {deviation:.3g} of the "
            f"background ({background:.3g}): weak spots lose intensity, "
            "so integrate the raw data too."
        )


def _background(sample: list[Frame], noise: Noise) -> tuple[float, float]:
    """Return the background and the standard deviation of its noise."""
    values = np.concatenate([frame.data[frame.mask] for frame in sample])
    background = float(np.median(values)) or float(np.mean(values))
    # a whole frame, because the noise may have a level of each pixel's own
    level = jnp.full(sample[0].data.shape, background, jnp.float32)
    variance = float(np.median(noise.variance(level)))
    return background, max(variance, 0.0) ** 0.5
