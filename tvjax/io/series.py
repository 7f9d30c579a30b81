"""A series of frames, whatever files it comes from."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num

from tvjax.io.errors import FileError
from tvjax.io.hdf5.layout import Layout
from tvjax.io.invalid_values import Declared, find_invalid_values, InvalidValues

# Yields data and header of the frames from a start to a stop (excluded).
Read = Callable[[int, int], Iterator[tuple[Num[np.ndarray, "height width"], str]]]

# Share of valid pixels below which a mask may be the wrong way round.
SCARCE = 0.5


@dataclass(frozen=True, eq=False)
class Frame:
    """One image as stored, and which of its pixels can be trusted.

    Attributes:
        index: Position in the series, from 0.
        data: Values as stored, those that mark invalid pixels included.
        mask: True where a pixel is valid.
        header: Text that came with the image, in the formats that have one.
    """

    index: int
    data: Num[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]
    header: str = ""


@dataclass(frozen=True)
class Metadata:
    """What a file says about the experiment; None where it says nothing.

    Attributes:
        detector: Name of the detector.
        wavelength: In Å.
        distance: From the sample to the detector, in m.
        exposure: Time of one frame in s.
        pixel_size: Height and width of a pixel in m.
        beam_centre: Row and column in pixels.
        two_theta: Angle of the detector arm in degrees.
        start_angle: Rotation at the start of the first frame, in degrees.
        angle_increment: Rotation per frame in degrees.
        sensor_material: Name of the sensor's material.
        sensor_thickness: In m.
        saturation: Count from which a pixel cannot be trusted.
    """

    detector: str | None = None
    wavelength: float | None = None
    distance: float | None = None
    exposure: float | None = None
    pixel_size: tuple[float, float] | None = None
    beam_centre: tuple[float, float] | None = None
    two_theta: float | None = None
    start_angle: float | None = None
    angle_increment: float | None = None
    sensor_material: str | None = None
    sensor_thickness: float | None = None
    saturation: float | None = None

    def known(self) -> dict[str, str | float | tuple[float, float]]:
        """Return what is known, by name."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: value for name, value in values if value is not None}


class Description(NamedTuple):
    """What one image file holds."""

    num_frames: int
    metadata: Metadata
    denoised_by: str | None  # program and version
    declared: Declared = Declared()
    files: tuple[str, ...] = ()  # names of those with the other images, and its own


class Selection(NamedTuple):
    """The frames from `start` to `stop` (excluded) of a series of `total`."""

    start: int
    stop: int
    total: int

    @property
    def num_frames(self) -> int:
        """Number of frames selected."""
        return self.stop - self.start

    @property
    def partial(self) -> bool:
        """Whether any frame is left out."""
        return self.num_frames < self.total


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """Frames of one shape and one type, read one at a time.

    Attributes:
        num_frames: Number of frames.
        shape: Rows and columns of a frame.
        dtype: Type of the values as stored.
        read: Yields data and header of the frames from start to stop (excluded).
        mask: True where the files declare a pixel valid; a frame may have fewer.
        mask_of_frame: The same for one frame only, where frames have masks of their
            own.
        invalid_values: Which stored values say that a pixel is invalid.
        metadata: What the files say about the experiment.
        names: The input as the user named it.
        files: Every file that the frames come from.
        kind: Name of the format.
        denoised_by: Program and version that denoised these frames, if any did.
        warnings: What is doubtful about the files, a sentence each.
        numbers: The number of each frame in the name of its file, where those rise.
        angles: Rotation at the start of each frame in degrees, where one file tells it
            of all.
        layout: Where an HDF5 file keeps its frames, for a writer to follow.
        close: Releases the files.
    """

    num_frames: int
    shape: tuple[int, int]
    dtype: np.dtype
    read: Read
    mask: Bool[np.ndarray, "height width"]
    mask_of_frame: Callable[[int], Bool[np.ndarray, "height width"]] | None = None
    invalid_values: InvalidValues
    metadata: Metadata = field(default_factory=Metadata)
    names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    kind: str = "memory"
    denoised_by: str | None = None
    warnings: tuple[str, ...] = ()
    numbers: tuple[int, ...] | None = None
    angles: Float[np.ndarray, " frame"] | None = None
    layout: Layout | None = None
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> "Series":
        """Return the series, which the end of the block closes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Release the files."""
        self.close()

    def as_before(self, like: "Series | None") -> "Series":
        """Return the series with the invalid pixels of `like`, the same when it began.

        What came later must not be judged by other frames.
        """
        if like is None:
            return self
        return dataclasses.replace(
            self, mask=like.mask, invalid_values=like.invalid_values
        )

    def place(self, index: int) -> int:
        """Return the position of frame `index` if frames that are missing count."""
        return index if self.numbers is None else self.numbers[index] - self.numbers[0]

    def numbers_of(self, selection: Selection) -> Sequence[int]:
        """Return the numbers of selected frames: those in the names, or from 1 on."""
        if self.numbers is None:
            return range(1, selection.num_frames + 1)
        return self.numbers[selection.start : selection.stop]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield the frames from `start` to `stop` (excluded, by default the end).

        Only one frame is held at a time.

        Raises:
            FileError: A frame cannot be read.
        """
        stop = self.num_frames if stop is None else stop
        for index, (data, header) in enumerate(self.read(start, stop), start):
            mask = self.mask & self.invalid_values.valid(data)
            if self.mask_of_frame is not None:
                mask &= self.mask_of_frame(index)
            yield Frame(index, data, mask, header)


def series_of(
    frames: Num[np.ndarray, "frame height width"],
    *,
    mask: Bool[np.ndarray, "height width"] | None = None,
    metadata: Metadata | None = None,
) -> Series:
    """Return frames in memory as a series, for example to write them to a file.

    Args:
        frames: The values, with those that mark invalid pixels.
        mask: True where a pixel is valid; by default everywhere.
        metadata: What is known of the experiment.
    """
    if np.ndim(frames) != 3:
        raise ValueError(
            "`frames` must have the axes frame, height and width, got the shape "
            f"{np.shape(frames)}."
        )
    num_frames, height, width = frames.shape

    def read(
        start: int, stop: int
    ) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
        return ((frames[i], "") for i in range(start, stop))

    invalid_values, doubts = judge_values("The array", read, num_frames)
    return Series(
        num_frames=num_frames,
        shape=(height, width),
        dtype=frames.dtype,
        read=read,
        mask=np.ones((height, width), bool) if mask is None else mask,
        invalid_values=invalid_values,
        warnings=doubts,
        metadata=metadata or Metadata(),
    )


def judge_values(
    name: str, read: Read, num_frames: int, declared: Declared | None = None
) -> tuple[InvalidValues, tuple[str, ...]]:
    """Return the invalid values of a series, by its first, middle and last frame.

    One of the later two that cannot be read is left out: who reaches it is told.

    Args:
        name: Name of the input, for the sentences.
        read: Reads the frames.
        num_frames: Number of frames.
        declared: What the files declare of them.

    Returns:
        The invalid values, and a sentence for each doubt.

    Raises:
        FileError: The first frame cannot be read.
    """
    frames = [next(read(0, 1))[0]]
    for index in sorted({num_frames // 2, num_frames - 1} - {0}):
        try:
            frames.append(next(read(index, index + 1))[0])
        except FileError:
            continue
    found, doubts = find_invalid_values(frames, declared)
    valid = np.stack([found.valid(frame) for frame in frames])
    sentences = [f"{name} {doubt}." for doubt in doubts]
    sentences += warn_if_scarce(f"Values declared or taken invalid in {name}", valid)
    return found, tuple(sentences)


def warn_if_scarce(
    name: str, valid: Bool[np.ndarray, "*frame height width"]
) -> tuple[str, ...]:
    """Return a sentence if so few pixels are valid that what says so may be wrong.

    Args:
        name: What says which are valid, as the subject of the sentence.
        valid: True where it says so.
    """
    share = float(np.mean(valid))
    if share >= SCARCE:
        return ()
    return (
        f"{name} leaves {share:.1%} of the pixels valid: check that zero is a valid "
        "pixel in a mask, and what the file declares.",
    )
