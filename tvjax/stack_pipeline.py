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

from tvjax.chemistry import (
    Chemistry,
    find_edge,
    map_phases,
    normalized,
    References,
    Rows,
)
from tvjax.io import (
    create_stack,
    FileError,
    Frame,
    Light,
    open_stack,
    Provenance,
    read_light,
    read_mask,
    read_spectra,
    SeriesWriter,
    Stack,
    stack_of,
    write_maps,
)
from tvjax.io.reading import Paths
from tvjax.outcome import describe_noise
from tvjax.pipeline import describe_series, noise_model, sample_frames, stack as gather
from tvjax.settings import SettingsError, StackSettings
from tvjax.stack_outcome import component_values, Evidence, Shifts, StackOutcome
from tvjax.streaming import read_ahead, write_behind

DENSITY = "optical density"

COPIES = 4
"""Copies of the stack that registration holds at a time."""

ROUNDS = 4
"""Of registration at most."""

SETTLED = 0.1
"""Root mean square in pixels of the shifts after which no further round is needed."""

SHOWN = 0.9, 0.5, 0.2
"""Mean values, over that of a bright pixel, of the pixels that the report shows."""

PLAUSIBLE = 0.8, 1.1
"""Deviations of the residual over the noise that are not worth a warning."""

Progress = Callable[[int, int], None]


class Fit(Protocol):
    """What `tvjax.stack.fit_components` does, as far as files need it."""

    def __call__(
        self,
        stack: Stack,
        *,
        noise: object | None,
        rank: int | None,
        mask: Bool[np.ndarray, "y x"],
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
        stack = files.enter_context(_open(inputs, settings))
        references = _read_references(settings, stack)
        with _create(output, stack, settings):
            pass  # what would fail at the start of writing shall fail before the work
        counts = stack
        if settings.flat is not None:
            lights = [
                files.enter_context(closing(read_light(name, stack)))
                for name in (settings.flat, settings.dark)
                if name is not None
            ]
            stack = _density(stack, *lights)
        mask = _survey(stack)
        noise, levels = None, None
        if settings.noise != "auto":
            noise = _noise(counts, settings)
            if settings.flat is not None:
                levels = _levels(counts, mask, noise, *lights)

        def denoise(
            stack: Stack, mask: Bool[np.ndarray, "y x"], rank: int | None
        ) -> object:
            return _fit(fit, stack, mask, rank, noise, levels, settings, progress)

        jitter = None
        if settings.register:
            _check_memory(stack, settings.memory)
            stack, mask, components, jitter = _at_rest(stack, mask, denoise, settings)
        else:
            components = denoise(stack, mask, settings.rank)
        chemistry, before, note = _chemistry(
            stack, mask, components, references, settings, compare
        )
        record = _provenance(settings, stack, noise, components, jitter)
        residuals: list[float] = []
        if not dry_run:
            with _create(output, stack, settings) as writer:
                _attach_map(writer, stack, settings, chemistry, record)
                residuals = _write_all(stack, mask, components, writer, progress)
                writer.finish(record)
        lost = np.count_nonzero(stack.series.mask & ~mask)
        residuals = np.array(residuals)
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
            evidence=_evidence(stack, mask, components),
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


def _open(inputs: Paths, settings: StackSettings) -> Stack:
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
        series = stack.series
        if series.denoised_by and not settings.force:
            raise FileError(
                f"{series.names[0]} was denoised by {series.denoised_by} before: "
                "start from the raw data, or pass --force."
            )
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
        if settings.mask is not None:
            mask = series.mask & read_mask(settings.mask, series.shape)
            if not mask.any():
                raise FileError(
                    f"{settings.mask} leaves no pixel that the input declares valid: "
                    "in a mask file zero is valid, any other value is bad."
                )
            stack = dataclasses.replace(
                stack, series=dataclasses.replace(series, mask=mask)
            )
        return stack
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


def _read_references(settings: StackSettings, stack: Stack) -> References | None:
    """Return the references at the energies of the stack.

    Raises:
        FileError: One cannot be read, or does not cover the energies.
    """
    if not settings.references:
        return None
    names, spectra, valences = [], [], []
    low, high = np.min(stack.energies), np.max(stack.energies)
    for text in settings.references:
        name, known = _split_valences(text)
        found = read_spectra(Path(name))
        if known is not None and len(known) != len(found):
            raise SettingsError(
                f"`references` must name a valence for each of the {len(found)} "
                f"spectra in {name}, got {len(known)}."
            )
        for spectrum in found:
            first, last = spectrum.energies[[0, -1]]
            if first > low or last < high:
                raise FileError(
                    f"{name} covers {first:.6g} to {last:.6g} eV, the stack "
                    f"{low:.6g} to {high:.6g} eV: name a reference that covers it, or "
                    "leave the outer energies out of the stack."
                )
            values = spectrum.values
            if spectrum.raw:
                values = normalized(values, spectrum.energies)
            names.append(spectrum.name)
            spectra.append(np.interp(stack.energies, spectrum.energies, values))
        valences += known or [None] * len(found)
    every = None if None in valences else tuple(valences)
    return References(tuple(names), np.array(spectra), every)


def _split_valences(text: str) -> tuple[str, list[float] | None]:
    """Return file and valences that `FILE[=VALENCE[,VALENCE]]` means."""
    name, equals, valences = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, None
    try:
        return name, [float(valence) for valence in valences.split(",")]
    except ValueError:
        raise SettingsError(
            f"`references` are files, each with =VALENCE where known, got {text}."
        ) from None


def _density(stack: Stack, flat: Light, dark: Light | None = None) -> Stack:
    """The optical density of counts, NaN where there is none."""
    from tvjax.xanes import optical_density  # loads jax

    num_rows = stack.shape[1]

    def cut(frames: slice, rows: slice) -> Float[np.ndarray, "energy y x"]:
        sample = stack.cut(frames, rows)
        found = optical_density(
            np.where(stack.series.marks.valid(sample), sample, 0).astype(np.float32),
            np.broadcast_to(flat.cut(frames, rows), sample.shape),
            dark=np.broadcast_to(
                0 if dark is None else dark.cut(frames, rows), sample.shape
            ),
            mask=stack.series.marks.valid(sample),
        )
        return np.where(found.mask, found.density, np.nan).astype(np.float32)

    def read(start: int, stop: int) -> Iterator[tuple[np.ndarray, str]]:
        headers = stack.series.read(start, stop)
        for index, (_, header) in zip(range(start, stop), headers, strict=True):
            yield cut(slice(index, index + 1), slice(0, num_rows))[0], header

    series = dataclasses.replace(
        stack.series,
        dtype=np.dtype(np.float32),
        read=read,
        marks=stack.series.marks._replace(negative=False),
        files=(*stack.series.files, *flat.files, *(dark.files if dark else ())),
    )
    return dataclasses.replace(stack, series=series, cut=cut, unit=DENSITY)


def _survey(stack: Stack) -> Bool[np.ndarray, "y x"]:
    """Go through all frames once; return where a pixel is valid in all of them.

    Raises:
        FileError: A frame holds nothing, or no pixel is valid at all energies.
    """
    common = stack.series.mask.copy()
    name = stack.series.names[0] if stack.series.names else "The stack"
    remedy = "leave this energy out of the file"
    for frame in read_ahead(stack.series.frames()):
        valid = frame.mask
        if not valid.any():
            raise FileError(
                f"{name} has no valid value in {stack.label(frame.index)}: {remedy}"
                + (", or check --flat and --dark." if stack.unit == DENSITY else ".")
            )
        if not np.any(frame.data[valid]):
            raise FileError(
                f"{name} is zero everywhere in {stack.label(frame.index)}, as where a "
                f"shutter was closed: {remedy}."
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


def _levels(
    counts: Stack,
    mask: Bool[np.ndarray, "y x"],
    noise: object,
    flat: Light,
    dark: Light | None = None,
) -> Float[np.ndarray, " energy"]:
    """The noise of the optical density at each energy, from that of the counts."""
    from tvjax.xanes import optical_density  # loads jax

    levels = []
    rows = slice(0, counts.shape[1])
    for index in range(counts.shape[0]):
        frames = slice(index, index + 1)
        sample = counts[frames, rows]
        empty, offset = (
            np.broadcast_to(
                0.0 if light is None else light.cut(frames, rows), sample.shape
            ).astype(np.float32)
            for light in (flat, dark)
        )
        found = optical_density(
            sample,
            empty,
            dark=offset,
            sample_variance=noise.variance(sample),
            flat_variance=noise.variance(empty) / flat.num_exposures,
            mask=mask,
        )
        variance = np.asarray(found.variance)[0][mask]
        levels.append(np.sqrt(max(float(np.mean(variance)), np.finfo(float).tiny)))
    return np.array(levels, np.float32)


def _fit(
    fit: Fit,
    stack: Stack,
    mask: Bool[np.ndarray, "y x"],
    rank: int | None,
    noise: object | None,
    levels: Float[np.ndarray, " energy"] | None,
    settings: StackSettings,
    progress: Progress,
) -> object:
    """Denoise; where the noise of each energy is known, in its units."""
    options = {"rank": rank, "memory": settings.memory, "progress": progress}
    if levels is None:
        return fit(stack, noise=noise, mask=mask, **options)
    from tvjax.noise import Gaussian  # loads jax

    def cut(frames: slice, rows: slice) -> Float[np.ndarray, "energy y x"]:
        return stack.cut(frames, rows) / levels[frames, None, None]

    whitened = dataclasses.replace(stack, cut=cut)
    found = fit(whitened, noise=Gaussian(1.0), mask=mask, **options)
    return dataclasses.replace(
        found, sigma=found.sigma * levels, spectra=found.spectra * levels
    )


def _check_memory(stack: Stack, memory: int) -> None:
    needed = COPIES * 4 * int(np.prod(stack.shape))
    if needed > memory:
        raise FileError(
            f"{stack.series.names[0]} is too large to be registered in "
            f"{memory / 1e9:.3g} GB: all of it is compared, which takes "
            f"{needed / 1e9:.3g} GB. Pass a larger --memory, or register a part."
        )


def _at_rest(
    stack: Stack,
    mask: Bool[np.ndarray, "y x"],
    denoise: Callable[[Stack, Bool[np.ndarray, "y x"], int | None], object],
    settings: StackSettings,
) -> tuple[Stack, Bool[np.ndarray, "y x"], object, Shifts]:
    """The stack with its jitter undone, its components, and the shifts.

    Shifts are found in the denoised frames, and applied to the frames as they came.
    Components are too few to follow all of the jitter, so that denoised frames move
    less than the frames did: what is left is found in the next round. The first has a
    rank of its own, as a stack that moves needs more components than one at rest.
    """
    from tvjax.registration import align, register, Registration  # loads jax

    whole = settings.whole_pixels
    num_energies = stack.shape[0]
    raw = stack[:]
    shifts = np.zeros((num_energies, 2), np.float32)
    rested, common = stack, mask
    components = denoise(stack, mask, None)
    for _ in range(ROUNDS):
        found = register(
            components.frames(0, num_energies), mask=common, whole_pixels=whole
        )
        step = np.asarray(found.shifts)
        shifts = shifts + step
        total = Registration(shifts, found.confidence, found.mask)
        aligned = align(raw, total, mask=mask, whole_pixels=whole)
        common = np.asarray(aligned.common)
        if not common.any():
            raise FileError(
                f"{stack.series.names[0]} has no pixel in common to all frames once "
                "they are aligned: check the shifts, or leave --register out."
            )
        rested = stack_of(
            np.where(aligned.mask, aligned.stack, np.nan).astype(np.float32),
            stack.energies,
            mask=np.ones(mask.shape, bool),
            like=stack.series,
            unit=stack.unit,
        )
        components = denoise(rested, common, settings.rank)
        if np.sqrt(np.mean(step**2)) < SETTLED:
            break
    return rested, common, components, Shifts(shifts, np.asarray(found.confidence))


def _chemistry(
    stack: Stack,
    mask: Bool[np.ndarray, "y x"],
    components: object,
    references: References | None,
    settings: StackSettings,
    compare: bool,
) -> tuple[Chemistry | None, Chemistry | None, tuple[str, ...]]:
    """Maps after and before denoising, and why there are none, where there are none."""
    if settings.map is None and (not compare or stack.energies is None):
        return None, None, ()
    means = np.mean(components.denoised, axis=(1, 2), where=mask)
    edge, notes = None, ()
    try:
        edge = find_edge(components.spectra.T @ means, stack.energies)
    except ValueError as error:
        if references is None and settings.map is not None:
            raise
        notes = (f"No map of the edge energy: in the mean spectrum {error}",)
    if edge is None and references is None:
        return None, None, notes

    def chart(rows: Rows, sigma: float) -> Chemistry:
        return map_phases(
            rows,
            stack.energies,
            mask,
            edge=edge,
            references=references,
            sigma=sigma,
            memory=settings.memory,
        )

    def after(rows: slice) -> Float[np.ndarray, "energy y x"]:
        return np.tensordot(components.spectra.T, components.denoised[:, rows], 1)

    def before(rows: slice) -> Float[np.ndarray, "energy y x"]:
        return stack[0 : stack.shape[0], rows]

    sigma = float(np.sqrt(np.mean(components.sigma**2)))
    # What is left of the noise lies in as many directions as there are components.
    per_direction = max(components.risk, 0.0) * stack.shape[0] / components.rank
    chemistry = chart(after, sigma * np.sqrt(per_direction))
    return chemistry, chart(before, sigma) if compare else None, notes


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


def _attach_map(
    writer: SeriesWriter,
    stack: Stack,
    settings: StackSettings,
    chemistry: Chemistry | None,
    record: Provenance,
) -> None:
    if settings.map is None:
        return
    results = dict(record.results)
    if chemistry.edge is not None:
        results["edge"] = chemistry.edge
    units = {"edge_energy": "eV", "step": stack.unit, "residual": stack.unit}
    writer.attach(
        Path(settings.map),
        lambda file: write_maps(
            file,
            chemistry.maps(),
            units=units,
            names=chemistry.names,
            provenance=dataclasses.replace(record, results=results),
        ),
    )


def _write_all(
    stack: Stack,
    mask: Bool[np.ndarray, "y x"],
    components: object,
    writer: SeriesWriter,
    progress: Progress,
) -> list[float]:
    """Write the frames behind the back of what makes them; return their residuals."""
    residuals: list[float] = []
    with (
        closing(read_ahead(stack.series.frames())) as frames,
        write_behind(writer.write) as write,
    ):
        for frame in frames:
            image = components.frames(frame.index, frame.index + 1)[0]
            residual = (frame.data[mask] - image[mask]) / components.sigma[frame.index]
            residuals.append(float(np.sqrt(np.mean(residual**2))))
            write(
                image, Frame(frame.index, frame.data, frame.mask & mask, frame.header)
            )
            progress(len(residuals), stack.shape[0])
    return residuals


def _evidence(
    stack: Stack, mask: Bool[np.ndarray, "y x"], components: object
) -> Evidence:
    """The frame of most contrast, and the spectra of bright and faint pixels."""
    spread = np.cov(components.denoised[:, mask]).reshape(
        2 * (len(components.denoised),)
    )
    contrast = np.einsum("ke,kl,le->e", components.spectra, spread, components.spectra)
    index = int(np.argmax(contrast))
    means = np.tensordot(components.spectra.mean(1), components.denoised, 1)
    bright = np.percentile(means[mask], 99)
    distances = (np.where(mask, abs(means - part * bright), np.inf) for part in SHOWN)
    pixels = tuple(
        tuple(map(int, np.unravel_index(np.argmin(distance), mask.shape)))
        for distance in distances
    )
    rows = [stack[0 : stack.shape[0], y : y + 1][:, 0, x] for y, x in pixels]
    return Evidence(
        frame=index,
        before=stack[index : index + 1][0],
        after=components.frames(index, index + 1)[0],
        mask=mask,
        pixels=pixels,
        spectra_before=np.stack(rows),
        spectra_after=np.stack(
            [components.spectra.T @ components.denoised[:, y, x] for y, x in pixels]
        ),
    )


def _warnings(
    components: object,
    settings: StackSettings,
    lost: int,
    jitter: Shifts | None,
    residuals: Float[np.ndarray, " energy"],
) -> Iterator[str]:
    """Yield a sentence for each thing that deserves a second look."""
    if settings.rank is None and components.rank == len(components.risks):
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
    if residuals.size:
        deviation = float(np.sqrt(np.mean(residuals**2)))
        if not PLAUSIBLE[0] < deviation < PLAUSIBLE[1]:
            yield (
                f"the residual has {deviation:.2f} times the noise: look at it in the "
                "report, and check the noise model."
            )
