"""What is a series of frames, whatever files it comes from?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Num

from tvjax.io.invalid_values import Marks


class Frame(NamedTuple):
    """One image as stored, and which of its pixels can be trusted."""

    index: int  # position in the series, from 0
    data: Num[np.ndarray, "height width"]  # as stored, marks of invalid pixels included
    mask: Bool[np.ndarray, "height width"]  # True where valid
    header: str = ""  # text that came with the image, for the formats that have one


@dataclass(frozen=True)
class Metadata:
    """What a file tells of the experiment; None where it is silent.

    Attributes:
        detector: Name of the detector.
        wavelength: In Å.
        distance: From the sample to the detector, in m.
        exposure: Time of one frame in s.
        pixel_size: Height and width of a pixel in m.
        beam_center: Row and column in pixels.
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
    beam_center: tuple[float, float] | None = None
    two_theta: float | None = None
    start_angle: float | None = None
    angle_increment: float | None = None
    sensor_material: str | None = None
    sensor_thickness: float | None = None
    saturation: float | None = None

    def known(self) -> dict[str, object]:
        """Return what is known, by name."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: value for name, value in values if value is not None}


class Description(NamedTuple):
    """What one image file holds."""

    num_frames: int
    metadata: Metadata
    denoised_by: str | None  # program and version


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """Frames of one shape and one type, read one at a time.

    Attributes:
        num_frames: Number of frames.
        shape: Rows and columns of a frame.
        dtype: Type of the values as stored.
        read: Yields data and header of the frames from start to stop (excluded).
        mask: True where the files declare a pixel valid; a frame may have fewer.
        marks: Which stored values say that a pixel is invalid.
        metadata: What the files tell of the experiment.
        names: The input as the user named it.
        files: Every file that the frames come from.
        kind: Name of the format.
        denoised_by: Program and version that denoised these frames, if any did.
        layout: Where an HDF5 file keeps its frames, for a writer to follow.
        close: Releases the files.
    """

    num_frames: int
    shape: tuple[int, int]
    dtype: np.dtype
    read: Callable[[int, int], Iterator[tuple[Num[np.ndarray, "height width"], str]]]
    mask: Bool[np.ndarray, "height width"]
    marks: Marks
    metadata: Metadata = field(default_factory=Metadata)
    names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    kind: str = "memory"
    denoised_by: str | None = None
    layout: object | None = None
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield the frames from `start` to `stop` (excluded, by default the end).

        Only one frame is held at a time.

        Raises:
            FileError: A frame cannot be read.
        """
        stop = self.num_frames if stop is None else stop
        for index, (data, header) in enumerate(self.read(start, stop), start):
            mask = self.mask & self.marks.valid(data)
            yield Frame(index, data, mask, header)


def series_of(
    frames: Num[np.ndarray, "frame height width"],
    *,
    mask: Bool[np.ndarray, "height width"] | None = None,
    metadata: Metadata | None = None,
) -> Series:
    """Return frames in memory as a series, for example to write them to a file."""
    return Series(
        num_frames=len(frames),
        shape=frames.shape[1:],
        dtype=frames.dtype,
        read=lambda start, stop: ((frames[i], "") for i in range(start, stop)),
        mask=np.ones(frames.shape[1:], bool) if mask is None else mask,
        marks=Marks.of(frames[0]),
        metadata=metadata or Metadata(),
    )
