"""A file with a noisy energy stack made into a file with a denoised one.

Frames are read one at a time, and blocks of rows where spectra are needed: a stack may
be larger than the memory. Only registration needs all of it.
"""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing, ExitStack
from os import PathLike
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from tvjax.io import (
    create_stack,
    FileError,
    open_stack,
    Provenance,
    read_flats,
    SeriesWriter,
    Stack,
)
from tvjax.io.journal import Header, unfinished_run
from tvjax.io.reading import Paths
from tvjax.io.stack import Cut
from tvjax.noise import Gaussian, Noise
from tvjax.pipeline.alignment import at_rest, check_memory
from tvjax.pipeline.density import density_noise, density_of, DensityNoise, UNIT
from tvjax.pipeline.input import (
    admitted,
    describe_series,
    images_and_masks,
    named_files,
    noise_model,
    sample_frames,
)
from tvjax.pipeline.maps import attach_map, map_stack, read_references
from tvjax.pipeline.resuming import (
    describe_run,
    kept_results,
    recorded,
    resumed_in_words,
    telling_what_is_kept,
)
from tvjax.pipeline.stack_outcome import (
    component_values,
    evidence_of,
    noise_values,
    Residuals,
    Shifts,
    StackOutcome,
)
from tvjax.pipeline.streaming import no_progress, Progress, read_ahead, write_behind
from tvjax.settings import SettingsError, StackSettings
from tvjax.stack import Components, fit_components
from tvjax.stack.denoise import Remember

# Deviations of the residual over the noise between these are not worth a warning.
PLAUSIBLE = 0.8, 1.1

# A correlation of neighbors in the residual up to this is not worth a warning.
WHITE = 0.1


@runtime_checkable
class FitStack(Protocol):
    """What `tvjax.stack.fit_components` does, as far as files need it."""

    def __call__(
        self,
        y: Stack,
        *,
        noise: Noise | None,
        rank: int | None,
        mask: Bool[np.ndarray, "height width"],
        memory: int,
        progress: Progress,
        remember: Remember | None,
    ) -> Components:
        """Find the components of a stack and denoise them."""
        ...


def denoise_stack_files(
    inputs: Paths,
    output: str | PathLike[str],
    settings: StackSettings | None = None,
    *,
    fit: FitStack = fit_components,
    compare: bool = False,
    progress: Progress = no_progress,
    dry_run: bool = False,
) -> StackOutcome:
    """Denoise the files of an energy stack into a file.

    Args:
        inputs: An HDF5 file, a TIFF file of many pages, or image files in the order of
            their energies; see `tvjax.io.open_stack`.
        output: The file to write; see `tvjax.io.create_stack`.
        settings: What to decide by hand; by default nothing.
        fit: What denoises; by default `tvjax.stack.fit_components`.
        compare: Whether to map the stack before denoising too, and to try a map where
            none is asked for.
        progress: Called with what is done of a step, and all of it.
        dry_run: Whether to choose rank and strengths, but write nothing.

    Returns:
        What was done.

    Raises:
        FileError: A file cannot be read or written, or the stack cannot be denoised;
            nothing is left behind.
        ValueError: The data make no sense, or a setting.
    """
    with telling_what_is_kept(Path(output)):
        return _denoise_stack_files(
            inputs,
            Path(output),
            settings or StackSettings(),
            fit=fit,
            compare=compare,
            progress=progress,
            dry_run=dry_run,
        )


def _denoise_stack_files(
    inputs: Paths,
    output: Path,
    settings: StackSettings,
    *,
    fit: FitStack,
    compare: bool,
    progress: Progress,
    dry_run: bool,
) -> StackOutcome:
    """Denoise the files of an energy stack into a file."""
    start_time = time.monotonic()
    with ExitStack() as files:
        stack = files.enter_context(open_energies(inputs, settings))
        references = read_references(settings, stack)
        with _create(output, stack, settings):
            pass  # what would fail at the start of writing shall fail before the work
        unfinished = None if settings.resume else unfinished_run(output)
        memory = None
        if not dry_run:
            header = Header(describe_run(stack.series, settings), "steps")
            memory = files.enter_context(
                kept_results(output, header, resume=settings.resume)
            )
        counts, lights = stack, []
        if settings.flat is not None:
            lights = [
                files.enter_context(closing(read_flats(name, counts)))
                for name in (settings.flat, settings.dark)
                if name is not None
            ]
            stack = density_of(counts, *lights)
        mask = _survey(stack)
        noise, density = None, None
        if settings.noise != "auto":
            noise = _noise(counts, settings)
            if lights:
                density = density_noise(counts, mask, noise, *lights)

        def denoise(
            stack: Stack, mask: Bool[np.ndarray, "height width"], rank: int | None
        ) -> Components:
            return _fit(
                fit, stack, mask, rank, noise, density, settings, progress, memory
            )

        jitter = None
        if settings.register:
            check_memory(stack, settings.memory)
            stack, mask, components, jitter = at_rest(
                stack,
                mask,
                denoise,
                rank=settings.rank,
                whole_pixels=settings.whole_pixels,
            )
        else:
            components = denoise(stack, mask, settings.rank)
        maps = map_stack(stack, mask, components, references, settings, compare=compare)
        map_file = None if settings.map is None else Path(settings.map)
        record = _provenance(settings, stack, noise, components, jitter)
        residuals = None
        if not dry_run:
            with _create(output, stack, settings) as writer:
                if map_file is not None and maps.after is not None:
                    attach_map(writer, stack, map_file, maps.after, record)
                residuals = _write_all(stack, mask, components, writer, progress)
                writer.finish(record)
        lost = int(np.count_nonzero(stack.series.mask & ~mask))
        warnings = _warnings(components, settings, lost, jitter, residuals)
        return StackOutcome(
            output=output,
            source=describe_series(counts.series),
            shape=stack.shape,
            energies=stack.energies,
            unit=stack.unit,
            noise=noise,
            components=components,
            chosen=settings.rank is None,
            mask=mask,
            evidence=evidence_of(stack, mask, components),
            residuals=residuals,
            jitter=jitter,
            chemistry=maps.after,
            chemistry_before=maps.before,
            map=None if dry_run else map_file,
            warnings=(
                *counts.series.warnings,
                *components.warnings,
                *warnings,
                *maps.notes,
                *(() if unfinished is None else (unfinished,)),
                *(() if memory is None else memory.warnings()),
            ),
            resumed=(
                resumed_in_words(memory.num_recalled, "steps")
                if memory is not None and settings.resume
                else None
            ),
            seconds=time.monotonic() - start_time,
        )


def open_energies(inputs: Paths, settings: StackSettings) -> Stack:
    """Open what is to be denoised, with the user's mask.

    Raises:
        FileError: It cannot be read, was denoised before, or does not suit a setting.
    """
    stack = open_stack(
        inputs,
        dataset=settings.dataset,
        axes=settings.axes,
        energies=settings.energies,
    )
    try:
        series = admitted(stack.series, settings)
        if settings.rank is not None and settings.rank > stack.shape[0]:
            raise SettingsError(
                f"`rank` must be at most the {stack.shape[0]} energies of "
                f"{series.names[0]}, got {settings.rank}."
            )
        if settings.map is not None and stack.energies is None:
            raise FileError(
                f"{series.names[0]} tells no energies, and a map needs them: "
                "pass --energies with a file or START:STOP:N."
            )
        return dataclasses.replace(stack, series=series)
    except BaseException:
        stack.series.close()
        raise


def _create(
    output: str | PathLike[str], like: Stack, settings: StackSettings
) -> SeriesWriter:
    """Start the output, and refuse maps that cannot be written."""
    if (
        settings.map is not None
        and Path(settings.map).resolve() == Path(output).resolve()
    ):
        raise SettingsError(f"`map` and output are both {output}: name another file.")
    writer = create_stack(
        output,
        like,
        dtype=settings.dtype,
        overwrite=settings.overwrite,
        reads=named_files(settings),
    )
    if settings.map is not None:
        try:
            writer.refuse(Path(settings.map))
        except BaseException:
            writer.__exit__()
            raise
    return writer


def _survey(stack: Stack) -> Bool[np.ndarray, "height width"]:
    """Go through all frames once; return where a pixel is valid in all of them.

    Raises:
        FileError: A frame holds nothing, or no pixel is valid at all energies.
    """
    common = stack.series.mask.copy()
    name = stack.series.names[0] if stack.series.names else "The stack"
    remedy = "leave this energy out of the file"
    with closing(read_ahead(stack.series.frames())) as frames:
        for frame in frames:
            valid = frame.mask
            if not valid.any():
                raise FileError(
                    f"{name} has no valid value in {stack.label(frame.index)}: {remedy}"
                    + (", or check --flat and --dark." if stack.unit == UNIT else ".")
                )
            if not np.any(frame.data[valid]):
                raise FileError(
                    f"{name} is zero everywhere in {stack.label(frame.index)}, as "
                    f"where a shutter was closed: {remedy}."
                )
            common &= valid
    if not common.any():
        raise FileError(
            f"{name} has no pixel that is valid at all energies: "
            "leave out the energies with most gaps, or check the mask."
        )
    return common


def _noise(counts: Stack, settings: StackSettings) -> Noise:
    """The noise model of what is in the file, estimating what is left out."""
    sample = sample_frames(counts.series, range(counts.shape[0]))
    return noise_model(settings.noise, *images_and_masks(sample))[0]


def _fit(
    fit: FitStack,
    stack: Stack,
    mask: Bool[np.ndarray, "height width"],
    rank: int | None,
    noise: Noise | None,
    density: DensityNoise | None,
    settings: StackSettings,
    progress: Progress,
    remember: Remember | None,
) -> Components:
    """Denoise; where the noise of a density is known, in units of its levels."""
    if density is not None:
        noise = Gaussian(density.pixels)
        stack = dataclasses.replace(stack, cut=_divided(stack, density.levels))
    found = fit(
        stack,
        noise=noise,
        mask=mask,
        rank=rank,
        memory=settings.memory,
        progress=progress,
        remember=remember,
    )
    return found if density is None else _multiplied(found, density.levels)


def _divided(stack: Stack, levels: Float[np.ndarray, " energy"]) -> Cut:
    """Read a stack divided by the level of each energy."""

    def cut(frames: slice, rows: slice) -> Float[np.ndarray, "energy height width"]:
        return stack.cut(frames, rows) / levels[frames, None, None]

    return cut


def _multiplied(
    components: Components, levels: Float[np.ndarray, " energy"]
) -> Components:
    """The components of a stack in its own unit, found in units of the levels."""
    sigma = components.sigma * levels
    return dataclasses.replace(
        components,
        noise=Gaussian(sigma[:, None, None]),
        sigma=sigma,
        # as if what is left of the noise were spread over the energies as the noise is
        risk=np.asarray(components.relative_risk * np.mean(sigma**2)),
        spectra=components.spectra * levels,
    )


def _provenance(
    settings: StackSettings,
    stack: Stack,
    noise: Noise | None,
    components: Components,
    jitter: Shifts | None,
) -> Provenance:
    """Everything needed to repeat or to judge the denoising."""
    results = component_values(components)
    if stack.energies is not None:
        results["energies"] = stack.energies.tolist()
    if jitter is not None:
        results["shifts"] = jitter.shifts.tolist()
        results["shift_confidence"] = jitter.confidence.tolist()
    return Provenance(
        settings=recorded(settings),
        inputs=stack.series.names,
        frames=(0, stack.shape[0]),
        noise=noise_values(noise),
        results=results,
    )


def _write_all(
    stack: Stack,
    mask: Bool[np.ndarray, "height width"],
    components: Components,
    writer: SeriesWriter,
    progress: Progress,
) -> Residuals:
    """Write frames while the next ones are made; return their residuals."""
    deviations, correlations = [], []
    with (
        closing(read_ahead(stack.series.frames())) as frames,
        write_behind(writer.write) as write,
    ):
        for frame in frames:
            image = components.frames(frame.index, frame.index + 1)[0]
            removed = np.where(mask, frame.data - image, 0)
            residual = removed / components.sigma[frame.index]
            deviations.append(np.sqrt(np.sum(residual**2) / np.count_nonzero(mask)))
            correlations.append(_neighbor_correlation(residual))
            write(image, dataclasses.replace(frame, mask=frame.mask & mask))
            progress(len(deviations), stack.shape[0])
    return Residuals(np.array(deviations), np.array(correlations))


def _neighbor_correlation(residual: Float[np.ndarray, "height width"]) -> float:
    """The correlation along the axis on which it is greater, zeros being invalid."""
    square = np.sum(residual**2) or 1.0
    along_y = np.sum(residual[1:] * residual[:-1])
    along_x = np.sum(residual[:, 1:] * residual[:, :-1])
    return float(max(along_y, along_x) / square)


def _warnings(
    components: Components,
    settings: StackSettings,
    lost: int,
    jitter: Shifts | None,
    residuals: Residuals | None,
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
    tried = len(components.relative_risks)
    if settings.rank is None and components.rank == tried < len(components.sigma):
        yield (
            "the rank is the greatest that was tried, where the risk has no minimum: "
            "compare with a greater one, by --rank."
        )
    if lost:
        yield (
            f"{lost} pixels are invalid at some of the energies and were left as they "
            "came at all of them."
        )
    if jitter is not None and np.any(jitter.confidence == 0):
        frames = ", ".join(map(str, np.flatnonzero(jitter.confidence == 0)))
        yield f"the shifts of these frames were not found, and are zero: {frames}."
    if residuals is None:
        return
    interpolated = jitter is not None and not settings.whole_pixels
    deviation, correlation = residuals.deviation, residuals.correlation
    if not PLAUSIBLE[0] < deviation < PLAUSIBLE[1]:
        yield (
            f"the residual has {deviation:.2f} times the noise: look at it in the "
            "report, and check the noise model."
        )
    if correlation > WHITE:
        yield (
            f"neighbors in the residual correlate by {correlation:.2f}: signal was "
            "removed, or the noise was smoothed before, as by interpolation, and then "
            "the risk is too low and the rank too high"
            + ("; --whole-pixels smooths nothing." if interpolated else ".")
        )
