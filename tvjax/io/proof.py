"""The proof that an output shows what was denoised, before it gets its name.

While frames are written, digests of a few are kept. Then the output is opened as its
readers do, through its own links and views, and compared: number and order of frames,
these few, the mask, and what has a number for each frame.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num

from tvjax.io.dectris_header import start_angle
from tvjax.io.errors import FileError, lost, reading
from tvjax.io.hdf5.datasets import SMALLEST
from tvjax.io.hdf5.layout import FRAMES_FIRST
from tvjax.io.hdf5.opening import open_file
from tvjax.io.hdf5.proof import (
    arrays_differ,
    chosen_images,
    mask_differs,
    masks_differ,
    numbers_differ,
    order_differs,
)
from tvjax.io.hdf5.read import arrange, open_hdf5
from tvjax.io.hdf5.slots import Slot
from tvjax.io.hdf5.write_frames import OMEGA
from tvjax.io.reading import open_series
from tvjax.io.series import Frame, Selection, Series

# Frames that are compared, spread from the first to the last: all of a short scan, a
# hundredth of the work of a usual one.
COMPARED = 16

# Tells where a file lies under its final name before it has that.
Shown = Callable[[Path], Path]


@dataclass(eq=False, kw_only=True)
class Ledger:
    """What an output has to show.

    Attributes:
        output: The name of the output.
        files: The files of its frames: one a frame, or one with all, or a master.
        like: The input.
        selection: Its frames that are written.
        dtype: Type of the stored values.
        program: Who denoises, None if nobody does.
        slots: Where an HDF5 output keeps its frames; None in other formats.
        is_stack: Whether a new HDF5 file is that of a stack, which has no mask.
        energies: The energies that it has, in eV.
    """

    output: Path
    files: Sequence[Path]
    like: Series
    selection: Selection
    dtype: np.dtype
    program: str | None
    slots: tuple[Slot, ...] | None = None
    is_stack: bool = False
    energies: Float[np.ndarray, " energy"] | None = None
    _digests: dict[int, int] = field(default_factory=dict)
    _angles: list[float | None] = field(default_factory=list)
    _valid: Bool[np.ndarray, "height width"] | None = None

    def __post_init__(self) -> None:
        last = self.selection.num_frames - 1
        spread = np.linspace(0, last, min(last + 1, COMPARED)).round().astype(int)
        self._sample = spread.tolist()

    def note(self, stored: Num[np.ndarray, "height width"], frame: Frame) -> None:
        """Note the next frame as it is stored."""
        index = len(self._angles)
        if index in self._sample:
            self._digests[index] = _digest(stored)
        self._angles.append(start_angle(self.like, frame))
        if self._valid is None:
            self._valid = frame.mask.copy()
        else:
            self._valid |= frame.mask

    def prove(self, shown: Shown) -> None:
        """Compare the output with what was noted.

        Args:
            shown: Where each file lies under its final name.

        Raises:
            FileError: It cannot be read, or something differs.
        """
        difference = self._first_difference(shown)
        if difference is not None:
            raise lost(self.output, difference)

    def _first_difference(self, shown: Shown) -> str | None:
        noted, wanted = len(self._angles), self.selection.num_frames
        if noted != wanted:
            return f"{noted} of {wanted} frames were handed over"
        if self._valid is None or not self._valid.any():
            return None  # no reader opens what has no valid pixel
        try:
            with self._open(shown) as opened:
                return next(self._differences(opened, shown), None)
        except FileError as error:
            hidden, folder = str(shown(self.output).parent), str(self.output.parent)
            return f"it cannot be read again ({error})".replace(hidden, folder)

    def _open(self, shown: Shown) -> Series:
        """Open the output as the input was opened."""
        if self.slots is None:
            return open_series([shown(path) for path in self.files])
        layout = self.like.layout
        if layout is None:
            # small planes are images only where they are named
            small = min(self.like.shape) < SMALLEST
            return open_hdf5(shown(self.output), _common(self.slots) if small else None)
        opened = open_hdf5(shown(self.output), chosen_images(layout))
        axes = layout.datasets[0].axes
        try:
            return opened if axes == FRAMES_FIRST else arrange(opened, axes)
        except BaseException:
            opened.close()
            raise

    def _differences(self, opened: Series, shown: Shown) -> Iterator[str]:
        """Yield a clause for each thing that an output does not show as it should."""
        wanted = self.selection.num_frames
        if opened.num_frames != wanted:
            yield f"it has {opened.num_frames} frames in place of {wanted}"
            return
        for what, found, expected in (
            ("frames of the shape", opened.shape, self.like.shape),
            ("values of the type", opened.dtype, self.dtype),
            ("a mark as denoised by", opened.denoised_by, self.program),
        ):
            if found != expected and not (what.startswith("a mark") and not expected):
                yield f"it has {what} {found} in place of {expected}"
        if self.slots is None:
            yield from self._differences_of_files(opened)
        else:
            yield from self._differences_of_hdf5(opened, self.slots, shown)
        for index, digest in self._digests.items():
            image, _ = next(opened.read(index, index + 1))
            if _digest(image) != digest:
                yield f"frame {index} has other values than those that were denoised"

    def _differences_of_files(self, opened: Series) -> Iterator[str]:
        """Yield a clause for each number or angle that a series of images lacks."""
        numbers = tuple(self.like.numbers_of(self.selection))
        if len(self.files) > 1 and opened.numbers != numbers:
            yield "its files have other numbers than the frames"
        for index in self._sample:
            told = start_angle(opened, next(opened.frames(index, index + 1)))
            angle = self._angles[index]
            if told is not None and angle is not None and not np.isclose(told, angle):
                yield f"frame {index} is at {told:g} degrees in place of {angle:g}"

    def _differences_of_hdf5(
        self, opened: Series, slots: tuple[Slot, ...], shown: Shown
    ) -> Iterator[str]:
        """Yield a clause for each thing that an HDF5 file shows otherwise."""
        layout, source = opened.layout, self.like.layout
        assert layout is not None
        files = {slot.data_file: shown(slot.data_file or self.output) for slot in slots}
        yield from order_differs(layout, slots, files)
        if source is not None:
            yield from masks_differ(opened, self.like, self.selection, self._sample)
            yield from arrays_differ(layout.file, source.file, self.selection)
            return
        if self.is_stack and self.energies is not None:
            yield from numbers_differ(layout.file, "entry/data/energy", self.energies)
        if self.is_stack:
            return
        if self._valid is not None and not np.array_equal(opened.mask, self._valid):
            yield mask_differs(self._valid, opened.mask, "all frames")
        if self.like.metadata.start_angle is not None:
            angles = np.array(self._angles, float)
            yield from numbers_differ(layout.file, OMEGA, angles)


def _common(slots: Sequence[Slot]) -> str:
    """Return the path of the only dataset, or of the group of all."""
    name = slots[0].name
    return name if len(slots) == 1 else name.rpartition("/")[0]


def prove_maps(
    output: Path,
    shown: Path,
    maps: dict[str, Num[np.ndarray, "*reference height width"]],
) -> None:
    """Compare a file of maps with the maps.

    Args:
        output: Its final name.
        shown: Where it lies under that.
        maps: What it should hold, by name.

    Raises:
        FileError: It cannot be read, or a map differs.
    """
    with reading(output), open_file(shown) as file:
        for name, values in maps.items():
            clause = next(numbers_differ(file, f"entry/{name}/data", values), None)
            if clause is not None:
                raise lost(output, clause)


def _digest(image: Num[np.ndarray, "height width"]) -> int:
    return zlib.crc32(np.ascontiguousarray(image).data)
