"""What is an energy stack, and how is any part of it read from files?

A stack is a series of frames, one an energy, of which rows can be read too: whoever
needs the spectra of all pixels goes through it in blocks of rows.
"""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Num

from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.read import arrange, Block, FRAMES_FIRST, Layout
from tvjax.io.hdf5.tree import join, text, walk
from tvjax.io.invalid_values import Marks
from tvjax.io.reading import open_series, Paths
from tvjax.io.series import Series
from tvjax.io.tables import in_ev, is_energy, read_table

_RANGE = re.compile(r"([^:]+):([^:]+):(\d+)$")

Cut = Callable[[slice, slice], Num[np.ndarray, "energy height width"]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack:
    """Frames of one scene, one an energy; `stack[2:5, 10:20]` reads rows of three.

    What is read is float32, with what the files say of it in `series`.

    Attributes:
        series: The frames as they are stored.
        energies: In eV, in the order of the frames; None where unknown.
        cut: Reads the rows of a slice of the frames of another, as stored.
        unit: Of the values, where it is known.
    """

    series: Series
    energies: Float[np.ndarray, " energy"] | None
    cut: Cut
    unit: str = ""

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Energies, rows and columns."""
        return (self.series.num_frames, *self.series.shape)

    @property
    def axes(self) -> str:
        """The order in which a file keeps E, Y and X."""
        layout = self.series.layout
        return layout.blocks[0].axes if isinstance(layout, Layout) else FRAMES_FIRST

    def __getitem__(
        self, key: slice | tuple[slice, slice]
    ) -> Float[np.ndarray, "energy height width"]:
        """Read a part, zero in pixels that are marked as invalid."""
        frames, rows = key if isinstance(key, tuple) else (key, slice(None))
        frames = slice(*frames.indices(self.shape[0])[:2])
        rows = slice(*rows.indices(self.shape[1])[:2])
        part = self.cut(frames, rows)
        valid = self.series.marks.valid(part)
        return np.where(valid, part, 0).astype(self.dtype)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.series.close()

    def label(self, index: int) -> str:
        """Return which frame is meant, in words."""
        if self.energies is None:
            return f"frame {index}"
        return f"frame {index} ({self.energies[index]:.6g} eV)"


def stack_of(
    frames: Num[ArrayLike, "energy height width"],
    energies: Float[ArrayLike, " energy"] | None = None,
    *,
    mask: Bool[np.ndarray, "height width"] | None = None,
    like: Series | None = None,
    unit: str = "",
) -> Stack:
    """Return an array as a stack, for example to write it to a file.

    Args:
        frames: The values; NaN where there is none.
        energies: In eV.
        mask: True where a pixel is valid.
        like: The series whose place the frames take, with its names and headers.
        unit: Of the values.
    """
    frames = np.asarray(frames)

    def read(start: int, stop: int):
        old = like.read(start, stop) if like else ((None, "") for _ in frames)
        for index, (_, header) in zip(range(start, stop), old, strict=False):
            yield frames[index], header

    base = like or Series(
        num_frames=len(frames),
        shape=frames.shape[1:],
        dtype=frames.dtype,
        read=read,
        mask=np.ones(frames.shape[1:], bool),
        marks=Marks.of(frames[0]),
    )
    series = dataclasses.replace(
        base,
        dtype=frames.dtype,
        read=read,
        mask=base.mask if mask is None else mask,
        marks=Marks.of(frames[0]),
    )
    if energies is not None:
        energies = np.asarray(energies, float)
    return Stack(
        series=series,
        energies=energies,
        cut=lambda part, rows: frames[part, rows],
        unit=unit,
    )


def open_stack(
    paths: Paths,
    *,
    dataset: str | None = None,
    axes: str | None = None,
    energies: str | None = None,
) -> Stack:
    """Open an HDF5 file with a stack, a TIFF file of many pages, or numbered images.

    Nothing is read but one frame; nor is it later, except what is asked for.

    Args:
        paths: As for `open_series`.
        dataset: Path of the stack in an HDF5 file that holds several.
        axes: Order of the axes in an HDF5 file, E for energies: for instance `YXE`. By
            default what NeXus attributes say, or else `EYX`.
        energies: `START:STOP:N`, a file of which the first column counts, the path of a
            dataset `FILE:PATH`, or `none`; by default what the input says. Numbers
            below 50 without a unit are in keV.

    Raises:
        FileError: Something cannot be read, there is only one frame, or the energies
            are not one for each frame, repeat or do not go one way.
    """
    series = open_series(paths, dataset=dataset)
    try:
        if series.layout is not None:
            axes = axes or _declared_axes(series.layout)
        elif axes not in (None, FRAMES_FIRST):
            raise FileError(
                f"{series.names[0]} is no HDF5 file, and its frames are images: "
                "drop --axes."
            )
        if axes not in (None, FRAMES_FIRST):
            series = arrange(series, axes)
        _check_frames(series)
        return Stack(
            series=series, energies=_energies(series, energies), cut=cut_of(series)
        )
    except BaseException:
        series.close()
        raise


def split_path(name: str) -> tuple[Path, str | None]:
    """Return the file and the path in it that `FILE[:PATH]` means."""
    file, colon, inner = name.rpartition(":")
    if Path(name).exists() or not colon:
        return Path(name), None
    return Path(file), inner


def read_dataset(
    path: Path, name: str, *, largest: int
) -> Num[np.ndarray, "..."] | None:
    """Return a dataset of an HDF5 file, None if it has more axes than `largest`.

    Raises:
        FileError: It is not there.
    """
    with reading(path), h5py.File(path, "r") as file:
        item = _dataset(path, file, name)
        return item[()] if item.ndim <= largest else None


def _dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    if not isinstance(file.get(name), h5py.Dataset):
        raise FileError(f"{path} has no dataset {name}: check the path in it.")
    return file[name]


def _check_frames(series: Series) -> None:
    if series.num_frames < 2:
        raise FileError(
            f"{series.names[0]} holds one frame: a stack needs two energies or more. "
            "Name all files, for instance name_####.tif, or use tvjax denoise."
        )


def cut_of(series: Series) -> Cut:
    """Return what reads rows of frames, alone where the format allows."""
    layout = series.layout
    if isinstance(layout, Layout) and len(layout.blocks) == 1:
        block = layout.blocks[0]
        if block.images.ndim == 3:

            def cut(
                frames: slice, rows: slice
            ) -> Num[np.ndarray, "energy height width"]:
                with reading(block.data_file or layout.path):
                    return block.cut(frames, rows)

            return cut

    def cut_frames(
        frames: slice, rows: slice
    ) -> Num[np.ndarray, "energy height width"]:
        images = series.read(frames.start, frames.stop)
        return np.stack([image[rows] for image, _ in images])

    return cut_frames


def _declared_axes(layout: Layout) -> str:
    """Return the order of the axes that NeXus attributes tell."""
    names = _axis_names(layout)
    found = ["E" if is_energy(name) else name[-1:].upper() for name in names]
    if sorted(found) == sorted(FRAMES_FIRST):
        return "".join(found)
    if found.count("E") == 1 and len(found) == 3:
        rest = iter("YX")
        return "".join("E" if axis == "E" else next(rest) for axis in found)
    return FRAMES_FIRST


def _axis_names(layout: Layout) -> list[str]:
    """Return what NeXus calls the axes of the stack; nothing where it is silent."""
    block = layout.blocks[0]
    for holder in (_group(layout, block), block.images):
        axes = holder.attrs.get("axes")
        if axes is not None:
            names = [text(name) for name in np.ravel(axes)]
            return (
                re.split(r"[:,\s]+", names[0].strip("[]")) if len(names) == 1 else names
            )
    return []


def _group(layout: Layout, block: Block) -> h5py.Group:
    """Return the group in which the file that was opened names the stack."""
    return layout.file[block.name.rpartition("/")[0] or "/"]


def _energies(
    series: Series, wanted: str | None
) -> Float[np.ndarray, " energy"] | None:
    if wanted == "none":
        return None
    if wanted is None:
        return _declared_energies(series)
    if found := _RANGE.match(wanted):
        try:
            first, last, number = float(found[1]), float(found[2]), int(found[3])
        except ValueError:
            pass
        else:
            return _checked(in_ev(np.linspace(first, last, number), ""), wanted, series)
    path, inner = split_path(wanted)
    if inner is None:
        table = read_table(path)
        values = in_ev(table.values[:, 0], table.unit)
    else:
        with reading(path), h5py.File(path, "r") as file:
            values = _values(inner, _dataset(path, file, inner))
    return _checked(values, wanted, series)


def _declared_energies(series: Series) -> Float[np.ndarray, " energy"] | None:
    """Return the energies that an HDF5 file tells."""
    layout = series.layout
    if not isinstance(layout, Layout):
        return None
    group = _group(layout, layout.blocks[0])
    near = [(join(group.name, name), group.get(name)) for name in group]
    for items in (near, walk(layout.file)):
        found = {
            name: _values(name, item)
            for name, item in items
            if isinstance(item, h5py.Dataset)
            and is_energy(name.rpartition("/")[2])
            and item.shape == (series.num_frames,)
            and item.dtype.kind in "uif"
        }
        values = list(found.values())
        if any(not np.array_equal(v, values[0], equal_nan=True) for v in values):
            raise FileError(
                f"{layout.path} has several lists of energies, {', '.join(found)}: "
                f"choose one with --energies {layout.path}:PATH."
            )
        if values:
            return _checked(values[0], next(iter(found)), series)
    return None


def _values(name: str, item: h5py.Dataset) -> Float[np.ndarray, " energy"]:
    unit = text(item.attrs.get("units", "")) or name.rpartition("_")[2]
    return in_ev(np.ravel(item[()]), unit)


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
