"""The commands that come next for files that were looked at, such that they run."""

import re
import shlex
from os import fspath, PathLike
from pathlib import Path

from tvjax.io import FileError, Series
from tvjax.io.formats import WRITABLE
from tvjax.io.reading import Paths
from tvjax.pipeline.stack import open_energies
from tvjax.settings import StackSettings

# What a name of a pattern is written as, which stands for many.
_PATTERN = re.compile(r"(?:[*?]|\[[^]]*\])+")
_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")

# The digits of a frame's number where a pattern does not tell them.
_DIGITS = "#####"


def suggest_frames(
    inputs: Paths, series: Series, settings: StackSettings, frames: str | None
) -> str:
    """Return the command that denoises frames, with what they were looked at by.

    Args:
        inputs: The files as the user named them.
        series: The same, open.
        settings: Dataset and mask are used.
        frames: Range of the frames that was asked for.
    """
    options = {"dataset": settings.dataset, "mask": settings.mask, "frames": frames}
    return _command("denoise", inputs, f"clean/{_output_name(series)}", options)


def suggest_stack(inputs: Paths, settings: StackSettings, **others: str | None) -> str:
    """Return the command that denoises a stack, with what it was looked at by.

    Args:
        inputs: The files as the user named them.
        settings: What the command is told.
        others: Settings that it is told besides.
    """
    names = ("dataset", "mask", "axes", "energies", "flat", "dark")
    options = {name: getattr(settings, name) for name in names} | others
    return _command("stack", inputs, "clean.h5", options)


def suggest_bare_stack(inputs: Paths, settings: StackSettings) -> str | None:
    """Return the command that denoises frames as a stack whose energies are not told.

    Where nothing tells which axis that of the energies is, it is the first.

    Args:
        inputs: The files as the user named them.
        settings: What the command is told.

    Returns:
        The command; None where the frames make no stack.
    """
    for axes in (None, "EYX"):
        try:
            told = StackSettings(
                dataset=settings.dataset, axes=axes, energies="none", force=True
            )
            open_energies(inputs, told).series.close()
        except FileError:
            continue
        return suggest_stack(inputs, settings, axes=axes, energies="none")
    return None


def _output_name(series: Series) -> str:
    """Return a name for the output, in the format of the input where that is written.

    Numbered files stay numbered, under the numbers of the input.
    """
    name = Path(series.names[0]).name
    for packed in (".gz", ".bz2"):
        name = name.removesuffix(packed)
    stem, suffix = Path(name).stem, Path(name).suffix.lower()
    if len(series.files) > 1 and series.layout is None:
        stem, found = _PATTERN.subn(_DIGITS, stem)
        if not found and "#" not in stem:
            stem = _LAST_NUMBER.sub(lambda number: "#" * len(number[0]), stem)
    if suffix not in _suffixes(series):
        suffix = ".h5"
    if suffix in WRITABLE[0].SUFFIXES:
        stem = stem.replace("#", "").rstrip("_-.") or "frames"
    return stem + suffix


def _suffixes(series: Series) -> tuple[str, ...]:
    """Return the extensions of the format of a series, if it can hold its values."""
    for known in WRITABLE:
        if known.NAME == series.kind:
            holds = series.dtype.kind != "f" or "float32" in known.DTYPES
            return known.SUFFIXES if holds else ()
    return ()


def _command(
    name: str, inputs: Paths, output: str, options: dict[str, str | None]
) -> str:
    single = isinstance(inputs, str | PathLike)
    files = [fspath(path) for path in ([inputs] if single else inputs)]
    words = ["tvjax", name, *files, "-o", output]
    for option, value in options.items():
        if value:
            words += [f"--{option}", value]
    return shlex.join(words)
