"""An energy stack in files, of which any part can be read.

A stack is a series of frames, one an energy, of which rows can be read too: whoever
needs the spectra of all pixels goes through it in blocks of rows.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Num

from tvjax.io.axes import find_axes
from tvjax.io.energies import read_energies, told_energies
from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.layout import FRAMES_FIRST
from tvjax.io.hdf5.read import arrange
from tvjax.io.invalid_values import find_invalid_values, InvalidValues
from tvjax.io.reading import open_series, Paths
from tvjax.io.series import Series, series_of

# Reads the rows of one slice of the frames of another, as stored.
Cut = Callable[[slice, slice], Num[np.ndarray, "energy height width"]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack:
    """Frames of one scene, one an energy; `stack[2:5, 10:20]` reads rows of three.

    What is read is float32, with what the files say of it in `series`.

    Attributes:
        series: The frames as they are stored.
        energies: In eV, in the order of the frames; None where unknown.
        cut: Reads the rows of a slice of the frames of another, as stored.
        unit: Unit of the values, where it is known.
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
        return FRAMES_FIRST if layout is None else layout.datasets[0].axes

    def __getitem__(
        self, key: slice | tuple[slice, slice]
    ) -> Float[np.ndarray, "energy height width"]:
        """Read a part, with zero in the place of invalid values."""
        frames, rows = key if isinstance(key, tuple) else (key, slice(None))
        frames = slice(*frames.indices(self.shape[0])[:2])
        rows = slice(*rows.indices(self.shape[1])[:2])
        part = self.cut(frames, rows)
        valid = self.series.invalid_values.valid(part)
        return np.where(valid, part, 0).astype(self.dtype)

    def __enter__(self) -> "Stack":
        """Return the stack, whose files the end of the block closes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Release the files."""
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
        unit: Unit of the values.
    """
    values = np.asarray(frames)
    # floats that were computed have NaN, and no marks of a detector
    marked = values.dtype.kind != "f"
    base = like or series_of(values)

    def read(
        start: int, stop: int
    ) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
        for index, (_, header) in enumerate(base.read(start, stop), start):
            yield values[index], header

    series = dataclasses.replace(
        base,
        dtype=values.dtype,
        read=read,
        mask=base.mask if mask is None else mask,
        mask_of_frame=base.mask_of_frame if mask is None else None,
        invalid_values=find_invalid_values([values[0]])[0]
        if marked
        else InvalidValues(),
    )
    return Stack(
        series=series,
        energies=None if energies is None else np.asarray(energies, float),
        cut=lambda part, rows: values[part, rows],
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
            default what the file declares, or else the axis as long as the energies.
        energies: `START:STOP:N`, a file of which the first column counts, the path of a
            dataset `FILE:PATH`, or `none`; by default what the input says. Numbers
            below 50 without a unit are in keV.

    Raises:
        FileError: Something cannot be read, nothing tells which axis is the energy,
            there is only one frame, or the energies are not one for each frame, repeat
            or do not go one way.
    """
    series = open_series(paths, dataset=dataset)
    try:
        if series.layout is not None:
            told = None if energies in (None, "none") else told_energies(energies)
            num_told = None if told is None else len(told)
            with reading(series.layout.path):
                axes = axes or find_axes(series.layout, num_told)
        elif axes not in (None, FRAMES_FIRST):
            raise FileError(
                f"{series.names[0]} is no HDF5 file, and its frames are images: "
                "drop --axes."
            )
        if axes is not None and axes != FRAMES_FIRST:
            series = arrange(series, axes)
        _check_frames(series)
        return Stack(
            series=series, energies=read_energies(series, energies), cut=cut_of(series)
        )
    except BaseException:
        series.close()
        raise


def _check_frames(series: Series) -> None:
    if series.num_frames < 2:
        raise FileError(
            f"{series.names[0]} holds one frame: a stack needs two energies or more. "
            "Name all files, for instance name_####.tif, or use tvjax denoise."
        )


def cut_of(series: Series) -> Cut:
    """Return what reads rows of frames, alone where the format allows."""
    layout = series.layout
    if layout is not None and len(layout.datasets) == 1:
        only = layout.datasets[0]
        if len(only.images.shape) == 3:

            def cut(
                frames: slice, rows: slice
            ) -> Num[np.ndarray, "energy height width"]:
                with reading(only.data_file or layout.path):
                    return only.cut(frames, rows)

            return cut

    def cut_frames(
        frames: slice, rows: slice
    ) -> Num[np.ndarray, "energy height width"]:
        images = series.read(frames.start, frames.stop)
        return np.stack([image[rows] for image, _ in images])

    return cut_frames
