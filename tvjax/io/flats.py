"""Flats and darks: what the camera reads without a sample, and without light."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num

from tvjax.io.errors import FileError, reading
from tvjax.io.file_names import split_path
from tvjax.io.formats import is_hdf5
from tvjax.io.hdf5.layout import FRAMES_FIRST, Layout
from tvjax.io.hdf5.read import arrange, read_dataset
from tvjax.io.hdf5.tree import walk_datasets
from tvjax.io.reading import holds_images, open_series
from tvjax.io.series import Series
from tvjax.io.stack import cut_of, Stack
from tvjax.io.tables import in_ev, read_table

_NAMES = {
    "flat": re.compile(r"(data_)?(flats?|white|bright|reference|i_?0|control)$", re.I),
    "dark": re.compile(r"(data_)?darks?$", re.I),
}


@dataclass(frozen=True, eq=False)
class Flats:
    """Flats, or darks, for any part of a stack, in counts.

    Attributes:
        cut: Returns the rows of one slice of the frames of another; an axis along which
            they are all alike has the length 1.
        num_exposures: Exposures that each is the mean of.
        files: Files that they come from.
        close: Releases the files.
    """

    cut: Callable[[slice, slice], Num[np.ndarray, "#energy #height #width"]]
    num_exposures: int
    files: tuple[Path, ...]
    close: Callable[[], None] = lambda: None


def read_flats(name: str, stack: Stack) -> Flats:
    """Open flats or darks for a stack.

    One image serves all energies; as many as there are energies serve one each, and are
    read only when needed; any other number are repeats, and averaged. A column of
    numbers, an I₀, serves one an energy, interpolated where it comes with energies.

    Args:
        name: A file with images or a table, or `FILE:PATH` in an HDF5 file.
        stack: The stack that they belong to.

    Raises:
        FileError: They cannot be read, or have another shape than the stack.
    """
    path, inner = split_path(name)
    if inner is not None and is_hdf5(path):
        values, _ = read_dataset(path, inner, largest=1)
        if values is not None:
            return Flats(_one_each(np.ravel(values), name, stack), 1, (path,))
    if not is_hdf5(path) and not holds_images(path):
        return Flats(_one_each(_from_table(path, stack), name, stack), 1, (path,))
    series = open_series(str(path), dataset=inner)
    try:
        return _from_images(series, name, stack)
    except BaseException:
        series.close()
        raise


def find_flats(stack: Stack) -> dict[str, str]:
    """Return `FILE:PATH` of the `flat` and the `dark` beside a stack in an HDF5 file.

    They are known by name, and by a shape that fits.
    """
    layout = stack.series.layout
    if layout is None:
        return {}
    with reading(layout.path):
        return _find_flats(stack, layout)


def _find_flats(stack: Stack, layout: Layout) -> dict[str, str]:
    images = layout.datasets[0].images
    frame = stack.series.shape
    found: dict[str, str] = {}
    for name, item in walk_datasets(layout.file):
        if item == images:
            continue
        fits = item.shape in (images.shape, stack.shape[:1]) or (
            item.shape is not None
            and len(item.shape) in (2, 3)
            and item.shape[-2:] == frame
        )
        for kind, pattern in _NAMES.items():
            if fits and any(pattern.match(part) for part in name.split("/")[-2:]):
                found.setdefault(kind, f"{layout.path}:{name}")
    return found


def _from_images(series: Series, name: str, stack: Stack) -> Flats:
    if stack.axes != FRAMES_FIRST and series.layout and series.num_frames > 1:
        series = arrange(series, stack.axes)
    if series.shape != stack.series.shape:
        _refuse(name, (series.num_frames, *series.shape), stack)
    if series.num_frames == stack.shape[0]:
        return Flats(cut_of(series), 1, series.files, series.close)
    total = np.zeros(series.shape)
    for image, _ in series.read(0, series.num_frames):
        total += image
    series.close()
    with np.errstate(over="ignore"):  # what single precision lacks is infinite, a gap
        mean = (total / series.num_frames).astype(np.float32)
    return Flats(lambda _, rows: mean[None, rows], series.num_frames, series.files)


def _from_table(path: Path, stack: Stack) -> Float[np.ndarray, " energy"]:
    """Return the last column, at the energies of the stack where it has its own."""
    table = read_table(path)
    values = table.values[:, -1]
    if table.values.shape[1] == 1 or stack.energies is None:
        return values
    energies = in_ev(table.values[:, 0], table.unit)
    order = np.argsort(energies)
    energies, values = energies[order], values[order]
    if energies[0] > stack.energies.min() or energies[-1] < stack.energies.max():
        raise FileError(
            f"{path} reaches from {energies[0]:g} to {energies[-1]:g} eV, the stack "
            f"from {stack.energies.min():g} to {stack.energies.max():g} eV: "
            "name an I₀ that covers it."
        )
    return np.interp(stack.energies, energies, values)


def _one_each(
    values: Num[np.ndarray, " energy"], name: str, stack: Stack
) -> Callable[[slice, slice], Num[np.ndarray, "energy 1 1"]]:
    if len(values) == 1:
        values = np.repeat(values, stack.shape[0])
    if len(values) != stack.shape[0]:
        _refuse(name, values.shape, stack)
    return lambda frames, _: values[frames, None, None]


def _refuse(name: str, shape: tuple[int, ...], stack: Stack) -> None:
    num_energies, *frame = stack.shape
    found, wanted = (" x ".join(map(str, size)) for size in (shape, frame))
    raise FileError(
        f"{name} has the shape {found}, the stack has {num_energies} frames of "
        f"{wanted}: name one image of this shape, one an energy, repeats of one, or "
        "one number an energy."
    )
