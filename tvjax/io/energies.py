"""The energies of a stack: what its file declares, or a range, a table, a dataset."""

import re

import h5py
import numpy as np
from jaxtyping import Float, Num

from tvjax.io.errors import FileError, reading
from tvjax.io.file_names import missing_numbers, split_path
from tvjax.io.hdf5.layout import Layout
from tvjax.io.hdf5.read import read_dataset
from tvjax.io.hdf5.tree import (
    find_item,
    join,
    names_in,
    number_attribute,
    path_of,
    text_attribute,
    walk,
)
from tvjax.io.hdf5.values import read_values
from tvjax.io.series import Series
from tvjax.io.tables import in_ev, is_energy, read_table

_RANGE = re.compile(r"([^:]+):([^:]+):(\d+)$")


def read_energies(
    series: Series, wanted: str | None
) -> Float[np.ndarray, " energy"] | None:
    """Return the energies of the frames in eV, None where they are unknown.

    Args:
        series: The frames.
        wanted: `START:STOP:N`, a file of which the first column counts, the path of a
            dataset `FILE:PATH`, or `none`; None for what the input says.

    Raises:
        FileError: They cannot be read, are not one for each frame, repeat or do not go
            one way.
    """
    if wanted == "none":
        return None
    if wanted is None:
        return _declared_energies(series)
    values = told_energies(wanted)
    if _RANGE.match(wanted):
        _check_even(values, wanted, series)
    if series.numbers is not None and len(values) == _span(series.numbers):
        # one for each number, those included that are missing
        values = values[[series.place(n) for n in range(series.num_frames)]]
    return _checked(values, wanted, series)


def told_energies(wanted: str) -> Float[np.ndarray, " energy"]:
    """Return the energies in eV that a user names, of whatever number.

    Args:
        wanted: `START:STOP:N`, a file, or the path of a dataset `FILE:PATH`.

    Raises:
        FileError: They cannot be read.
    """
    values = _parse_range(wanted)
    if values is not None:
        return values
    path, inner = split_path(wanted)
    if inner is None:
        table = read_table(path)
        return in_ev(table.values[:, 0], table.unit)
    stored, unit = read_dataset(path, inner, largest=3)
    return _in_ev(inner, np.asarray(stored), unit)


def listed_energies(layout: Layout) -> dict[str, h5py.Dataset]:
    """Return the lists of energies in a file by path: those that fit an axis.

    Those beside the images come first, and alone where any of them fits.
    """
    group = layout.group
    images = layout.datasets[0].images
    near = [
        (join(path_of(group), name), find_item(group, name)) for name in names_in(group)
    ]
    for items in (near, walk(layout.file)):
        found = {
            name: item
            for name, item in items
            if isinstance(item, h5py.Dataset)
            and is_energy(name.rpartition("/")[2])
            and len(item.shape or ()) == 1
            and item.shape[0] in images.shape
            and item.dtype.kind in "uif"
        }
        if found:
            return found
    return {}


def axis_groups(layout: Layout) -> dict[int, h5py.Group]:
    """Return the groups `axis-N` in which HyperSpy describes the axes of a stack."""
    group = layout.group
    shape = layout.datasets[0].images.shape
    found = {n: find_item(group, f"axis-{n}") for n in range(len(shape))}
    return {
        n: item
        for n, item in found.items()
        if isinstance(item, h5py.Group)
        and number_attribute(item, "size") == shape[n]
        and number_attribute(item, "navigate") is not None
    }


def _span(numbers: tuple[int, ...]) -> int:
    return numbers[-1] - numbers[0] + 1


def _check_even(
    values: Float[np.ndarray, " energy"], wanted: str, series: Series
) -> None:
    """Refuse energies with even steps for frames whose numbers have a gap."""
    numbers = series.numbers
    if numbers is None or len(values) != series.num_frames:
        return
    if missing := missing_numbers(numbers):
        raise FileError(
            f"{wanted} has even steps, but of {series.names[0]} the numbers {missing} "
            f"are missing: name the range of all {_span(numbers)}, or a file with the "
            f"{series.num_frames} energies."
        )


def _parse_range(text: str) -> Float[np.ndarray, " energy"] | None:
    """Return the energies that `START:STOP:N` means, None where it means a file."""
    found = _RANGE.match(text)
    if found is None:
        return None
    try:
        first, last, number = float(found[1]), float(found[2]), int(found[3])
    except ValueError:
        return None
    return in_ev(np.linspace(first, last, number), "")


def _declared_energies(series: Series) -> Float[np.ndarray, " energy"] | None:
    """Return the energies in an HDF5 file, those beside the images first."""
    layout = series.layout
    if layout is None:
        return None
    with reading(layout.path):
        return _found_energies(series, layout)


def _found_energies(
    series: Series, layout: Layout
) -> Float[np.ndarray, " energy"] | None:
    found = {
        name: _in_ev(name, read_values(item), text_attribute(item, "units"))
        for name, item in listed_energies(layout).items()
        if item.shape == (series.num_frames,)
    }
    if not found:
        found = _described_energies(layout)
    values = list(found.values())
    if any(not np.array_equal(v, values[0], equal_nan=True) for v in values):
        raise FileError(
            f"{layout.path} has several lists of energies, {', '.join(found)}: "
            f"choose one with --energies {layout.path}:PATH."
        )
    return _checked(values[0], next(iter(found)), series) if values else None


def _described_energies(layout: Layout) -> dict[str, Float[np.ndarray, " energy"]]:
    """Return the energies of HyperSpy, which keeps the first one and their distance."""
    axes = layout.datasets[0].axes
    group = axis_groups(layout).get(axes.index("E"))
    if group is None or not is_energy(text_attribute(group, "name")):
        return {}
    first, step = (number_attribute(group, name) for name in ("offset", "scale"))
    if first is None or step is None:
        return {}
    values = first + step * np.arange(layout.datasets[0].num_frames)
    return {path_of(group): in_ev(values, text_attribute(group, "units"))}


def _in_ev(
    name: str, values: Num[np.ndarray, "..."], unit: str
) -> Float[np.ndarray, " energy"]:
    """Return the values of the dataset `name` in eV; its name may tell the unit."""
    return in_ev(np.ravel(values), unit or name.rpartition("_")[2])


def _checked(
    energies: Float[np.ndarray, " energy"], source: str, series: Series
) -> Float[np.ndarray, " energy"]:
    """Return energies, or say what is wrong with them."""
    name = series.names[0] if series.names else series.kind
    if len(energies) != series.num_frames:
        raise FileError(
            f"{source} has {len(energies)} energies, {name} {series.num_frames} frames:"
            " name the list that belongs to it, or correct --axes."
        )
    if not np.all(np.isfinite(energies)):
        index = int(np.argmax(~np.isfinite(energies)))
        raise FileError(
            f"{source} has no number as energy of frame {index}: correct the list, or "
            "pass another with --energies."
        )
    remedy = (
        "Correct the list and pass it with --energies, or pass --energies none to "
        "denoise without."
    )
    values, counts = np.unique(energies, return_counts=True)
    if np.any(counts > 1):
        value = values[counts > 1][0]
        frames = ", ".join(map(str, np.flatnonzero(energies == value)))
        raise FileError(
            f"{source} repeats the energy {value:.7g} eV, in the frames {frames}. "
            f"{remedy}"
        )
    steps = np.sign(np.diff(energies))
    if len(set(steps)) > 1:
        index = int(np.flatnonzero(steps != np.sign(np.sum(steps)))[0])
        raise FileError(
            f"{source} does not go one way: {energies[index]:.7g} eV of frame {index} "
            f"is followed by {energies[index + 1]:.7g} eV. {remedy}"
        )
    return energies
