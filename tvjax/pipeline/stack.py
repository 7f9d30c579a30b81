"""How does a file with a noisy energy stack become a file with a denoised one?

Frames are read one at a time, and blocks of rows where spectra are needed: a stack may
be larger than the memory. Only registration needs all of it.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import closing, ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from tvjax.io import (
    create_stack,
    FileError,
    Frame,
    open_stack,
    Provenance,
    read_light,
    SeriesWriter,
    Stack,
)
from tvjax.io.reading import Paths
from tvjax.pipeline.alignment import at_rest, check_memory
from tvjax.pipeline.density import density_noise, density_of, DensityNoise, UNIT
from tvjax.pipeline.frames_outcome import describe_noise
from tvjax.pipeline.input import (
    admitted,
    describe_series,
    gather,
    noise_model,
    sample_frames,
)
from tvjax.pipeline.maps import attach_map, map_stack, read_references
from tvjax.pipeline.stack_outcome import (
    component_values,
    evidence_of,
    Residuals,
    Shifts,
    StackOutcome,
)
from tvjax.pipeline.streaming import read_ahead, write_behind
from tvjax.settings import SettingsError, StackSettings

PLAUSIBLE = 0.8, 1.1
"""Deviations of the residual over the noise that are not worth a warning."""

WHITE = 0.1
"""Correlation of neighbors in the residual that is not worth a warning."""

Progress = Callable[[int, int], None]


class Fit(Protocol):
    """What `tvjax.stack.fit_components` does, as far as files need it."""

    def __call__(
        self,
        stack: Stack,
        *,
        noise: object | None,
        rank: int | None,
        mask: Bool[np.ndarray, "height width"],
        memory: int,
        progress: Progress,
    ) -> object: ...


def denoise_stack_file(
    inputs: Paths,
    output: str | Path,
    settings: StackSettings | None = None,
    *,
    fit: Fit | None = None,
    compare: bool = False,
    progress: Progress = lambda done, total: None,
    dry_run: bool = False,
) -> StackOutcome:
    """Denoise an energy stack from file to file.

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
    start_time = time.monotonic()
    settings = settings or StackSettings()
    fit = fit or _default_fit()
    with ExitStack() as files:
        stack = files.enter_context(open_energies(inputs, settings))
        references = read_references(settings, stack)
        with _create(output, stack, settings):
            pass  # what would fail at the start of writing shall fail before the work
        counts = stack
        if settings.flat is not None:
            lights = [
                files.enter_context(closing(read_light(name, stack)))
                for name in (settings.flat, settings.dark)
                if name is not None
            ]
            stack = density_of(stack, *lights)
        mask = _survey(stack)
        noise, density = None, None
        if settings.noise != "auto":
            noise = _noise(counts, settings)
            if settings.flat is not None:
                density = density_noise(counts, mask, noise, *lights)

        def denoise(
            stack: Stack, mask: Bool[np.ndarray, "height width"], rank: int | None
        ) -> object:
            return _fit(fit, stack, mask, rank, noise, density, settings, progress)

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
        chemistry, before, note = map_stack(
            stack, mask, components, references, settings, compare
        )
        record = _provenance(settings, stack, noise, components, jitter)
        residuals = None
        if not dry_run:
            with _create(output, stack, settings) as writer:
                attach_map(writer, stack, settings, chemistry, record)
                residuals = _write_all(stack, mask, components, writer, progress)
                writer.finish(record)
        lost = np.count_nonzero(stack.series.mask & ~mask)
        return StackOutcome(
            output=Path(output),
            source=describe_series(counts.series),
            shape=stack.shape,
            energies=stack.energies,
            unit=stack.unit,
            noise=record.noise,
            components=components,
            chosen=settings.rank is None,
            mask=mask,
            evidence=evidence_of(stack, mask, components),
            residuals=residuals,
            jitter=jitter,
            chemistry=chemistry,
            chemistry_before=before,
            map=None if dry_run or settings.map is None else Path(settings.map),
            warnings=tuple(_warnings(components, settings, lost, jitter, residuals))
            + note,
            seconds=time.monotonic() - start_time,
        )


def _default_fit() -> Fit:
    from tvjax.stack import fit_components  # loads jax

    return fit_components


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


def _create(output: str | Path, like: Stack, settings: StackSettings) -> SeriesWriter:
    if (
        settings.map is not None
        and Path(settings.map).resolve() == Path(output).resolve()
    ):
        raise SettingsError(f"`map` and output are both {output}: name another file.")
    writer = create_stack(
        output, like, dtype=settings.dtype, overwrite=settings.overwrite
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


def _noise(counts: Stack, settings: StackSettings) -> object:
    """The noise model of what is in the file, estimating what is left out."""
    sample = sample_frames(counts.series, range(counts.shape[0]))
    return noise_model(settings.noise, *gather(sample))


def _fit(
    fit: Fit,
    stack: Stack,
    mask: Bool[np.ndarray, "height width"],
    rank: int | None,
    noise: object | None,
    density: DensityNoise | None,
    settings: StackSettings,
    progress: Progress,
) -> object:
    """Denoise; where the noise of a density is known, in units of its levels."""
    options = {"rank": rank, "memory": settings.memory, "progress": progress}
    if density is None:
        return fit(stack, noise=noise, mask=mask, **options)
    from tvjax.noise import Gaussian  # loads jax

    levels = density.levels

    def cut(frames: slice, rows: slice) -> Float[np.ndarray, "energy height width"]:
        return stack.cut(frames, rows) / levels[frames, None, None]

    whitened = dataclasses.replace(stack, cut=cut)
    found = fit(whitened, noise=Gaussian(density.pixels), mask=mask, **options)
    return dataclasses.replace(
        found, sigma=found.sigma * levels, spectra=found.spectra * levels
    )


def _provenance(
    settings: StackSettings,
    stack: Stack,
    noise: object | None,
    components: object,
    jitter: Shifts | None,
) -> Provenance:
    results = component_values(components)
    if stack.energies is not None:
        results["energies"] = stack.energies.tolist()
    if jitter is not None:
        results["shifts"] = jitter.shifts.tolist()
        results["shift_confidence"] = jitter.confidence.tolist()
    return Provenance(
        settings=dataclasses.asdict(settings),
        inputs=stack.series.names,
        frames=(0, stack.shape[0]),
        noise={"kind": "estimated at each energy"}
        if noise is None
        else describe_noise(noise),
        results=results,
    )


def _write_all(
    stack: Stack,
    mask: Bool[np.ndarray, "height width"],
    components: object,
    writer: SeriesWriter,
    progress: Progress,
) -> Residuals:
    """Write the frames behind the back of what makes them; return their residuals."""
    deviations, correlations = [], []
    with (
        closing(read_ahead(stack.series.frames())) as frames,
        write_behind(writer.write) as write,
    ):
        for frame in frames:
            index, data, valid, header = frame
            image = components.frames(index, index + 1)[0]
            residual = np.where(mask, data - image, 0) / components.sigma[index]
            deviations.append(np.sqrt(np.sum(residual**2) / np.count_nonzero(mask)))
            correlations.append(_neighbor_correlation(residual))
            write(image, Frame(index, data, valid & mask, header))
            progress(len(deviations), stack.shape[0])
    return Residuals(np.array(deviations), np.array(correlations))


def _neighbor_correlation(residual: Float[np.ndarray, "height width"]) -> float:
    """The correlation along the axis on which it is greater, zeros being invalid."""
    square = np.sum(residual**2) or 1.0
    along_y = np.sum(residual[1:] * residual[:-1])
    along_x = np.sum(residual[:, 1:] * residual[:, :-1])
    return float(max(along_y, along_x) / square)


def _warnings(
    components: object,
    settings: StackSettings,
    lost: int,
    jitter: Shifts | None,
    residuals: Residuals | None,
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
    tried = len(components.risks)
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
