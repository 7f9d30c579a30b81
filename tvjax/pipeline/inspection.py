"""What is in files, how noisy it is, and which command comes next."""

import dataclasses
from typing import Any

import numpy as np

from tvjax.io import FileError, find_flats, read_flats, Series, Stack
from tvjax.io.reading import Paths
from tvjax.noise import diagnose_noise
from tvjax.pipeline.alignment import COPIES
from tvjax.pipeline.input import (
    counts_photons,
    describe_series,
    frame_range,
    images_and_masks,
    open_input,
    sample_frames,
)
from tvjax.pipeline.stack import open_energies
from tvjax.pipeline.suggestion import (
    suggest_bare_stack,
    suggest_frames,
    suggest_stack,
)
from tvjax.settings import Settings, StackSettings

# The letters of axes in words.
AXES = {"E": "energy", "Y": "y", "X": "x"}

# The units of what files tell of an experiment.
_UNITS = {
    **dict.fromkeys(("distance", "pixel_size", "sensor_thickness"), "m"),
    **dict.fromkeys(("two_theta", "start_angle", "angle_increment"), "degrees"),
    **{"wavelength": "Å", "exposure": "s", "beam_centre": "pixels"},
    "saturation": "counts",
}


def inspect_files(
    inputs: Paths, settings: StackSettings, *, frames: str | None = None
) -> dict[str, Any]:
    """Return what files hold, how noisy it is and what to do next, by name.

    Frames of which the files or the settings tell the energies are an energy stack,
    all others a scan.

    Args:
        inputs: As for `tvjax.io.open_series`.
        settings: Mask, dataset, axes, energies, flats and memory are used.
        frames: Range `A:B` of a scan to look at.

    Returns:
        Facts by name: texts, and numbers in the unit of the data. What is doubtful
        about the files or unusual about the noise is under `warnings`, a sentence each.

    Raises:
        FileError: They cannot be read, or have no valid pixel.
        SettingsError: A setting makes no sense.
    """
    settings = dataclasses.replace(settings, force=True)
    told = settings.axes or settings.energies or settings.flat
    doubt: dict[str, Any] = {}
    if frames is None:
        try:
            with open_energies(inputs, settings) as stack:
                if told or stack.energies is not None:
                    return _stack_facts(inputs, stack, settings)
        except FileError as error:
            if told:
                raise
            doubt = {"no energy stack": str(error)}
    scan = Settings(
        mask=settings.mask, frames=frames, dataset=settings.dataset, force=True
    )
    with open_input(inputs, scan) as series:
        facts = _scan_facts(inputs, series, frames, settings)
        return facts | (doubt if series.num_frames > 1 else {})


def _scan_facts(
    inputs: Paths, series: Series, asked: str | None, settings: StackSettings
) -> dict[str, Any]:
    """Return what there is to know of a scan, and of the frames that were asked for."""
    frames = frame_range(series, asked)
    facts = {
        "input": describe_series(series),
        "axes": "frame, y, x",
        "type": str(series.dtype),
        **_origin(series),
        **_statistics(series, frames),
    }
    if not series.denoised_by:
        facts["next"] = suggest_frames(inputs, series, settings, asked)
        if series.num_frames > 1 and series.metadata.wavelength is None:
            if command := suggest_bare_stack(inputs, settings):
                facts["or, of energies"] = command
                facts["for their maps"] = (
                    "START:STOP:N, or a file of the energies, in the place of none"
                )
    return facts


def _stack_facts(
    inputs: Paths, stack: Stack, settings: StackSettings
) -> dict[str, Any]:
    """Return what there is to know of an energy stack."""
    series = stack.series
    lights = {} if settings.flat else find_flats(stack)
    for name in (settings.flat, settings.dark):
        if name is not None:
            read_flats(name, stack).close()  # refuses what does not fit
    facts = {
        "input": describe_series(series),
        "axes": ", ".join(AXES[axis] for axis in stack.axes),
        "energies": _energies(stack),
        "type": str(series.dtype),
        "in memory": _memory(stack, settings.memory),
        **_origin(series),
        "flats": settings.flat or lights.get("flat", "none in the file"),
        "darks": settings.dark or lights.get("dark", "none in the file"),
        **_statistics(series, range(series.num_frames), each=True),
    }
    if not series.denoised_by:
        if "flat" in lights:  # without, a dark is of no use
            settings = dataclasses.replace(settings, **lights)
        facts["next"] = suggest_stack(inputs, settings)
    return facts


def _origin(series: Series) -> dict[str, Any]:
    """Return where a series comes from, as far as its files tell."""
    by = {"denoised by": series.denoised_by} if series.denoised_by else {}
    return by | {
        name: f"{_in_words(value)} {_UNITS.get(name, '')}".rstrip()
        for name, value in series.metadata.known().items()
    }


def _in_words(value: str | float | tuple[float, float]) -> str:
    """Return what a file tells, the two directions of a pair with their names."""
    if isinstance(value, tuple):
        return f"y {value[0]:.7g}, x {value[1]:.7g}"
    return value if isinstance(value, str) else f"{value:.7g}"


def _statistics(series: Series, frames: range, *, each: bool = False) -> dict[str, Any]:
    """Return what a few frames tell of all.

    Args:
        series: What is looked at.
        frames: Those that a few are taken of.
        each: Whether every frame has a noise of its own, as at another energy: then
            that of the middle one is told.
    """
    images, mask = images_and_masks(sample_frames(series, frames))
    seen = slice(len(images) // 2, len(images) // 2 + 1) if each else slice(None)
    facts: dict[str, Any] = {
        "valid pixels": f"{np.mean(mask):.2%}",
        "mean": float(np.mean(images, where=mask)),
        "largest": float(np.max(images, where=mask, initial=0)),
    }
    try:
        report = diagnose_noise(
            images[seen], mask[seen], counting=counts_photons(series.metadata.detector)
        )
    except ValueError as error:  # images of one row or column have no noise to see
        return facts | {"noise": str(error), "warnings": series.warnings}
    warnings = (*series.warnings, *report.warnings)
    return facts | report.facts() | {"warnings": warnings}


def _energies(stack: Stack) -> str:
    """Return number, range and distances of the energies."""
    values = stack.energies
    if values is None:
        return "none"
    steps = np.abs(np.diff(values))
    apart = " to ".join(dict.fromkeys(f"{f(steps):.3g}" for f in (np.min, np.max)))
    return (
        f"{len(values)} from {values[0]:.7g} to {values[-1]:.7g} eV, {apart} eV apart"
    )


def _memory(stack: Stack, memory: int) -> str:
    """Return how much memory a stack takes, and what of it there is."""
    size = stack.dtype.itemsize * int(np.prod(stack.shape))
    text = f"{_bytes(size)} as {stack.dtype}, "
    if size > memory:
        return text + f"more than the {_bytes(memory)} of --memory: read in blocks"
    if COPIES * size > memory:
        return text + (
            f"fits the {_bytes(memory)} of --memory, but --register takes "
            f"{_bytes(COPIES * size)}"
        )
    return text + f"fits the {_bytes(memory)} of --memory"


def _bytes(size: int) -> str:
    """Return a size with its unit."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"
