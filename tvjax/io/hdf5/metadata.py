"""The metadata of a measurement, as an HDF5 file keeps it."""

import math

import h5py
import numpy as np
from jaxtyping import Float

from tvjax.io.hdf5.ownership import Ownership, walk_names
from tvjax.io.hdf5.tree import text, text_attribute
from tvjax.io.hdf5.values import read_values
from tvjax.io.limits import MOST_FRAMES
from tvjax.io.series import Metadata

# Factors to SI units, by the unit that a dataset names; a length must name one.
_METERS = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre"), 1e-2),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre"), 1e-3),
    **dict.fromkeys(("um", "micrometer", "micrometers", "micrometre"), 1e-6),
    **dict.fromkeys(("\u00b5m", "\u03bcm", "micron", "microns"), 1e-6),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre"), 1e-9),
}
_PIXELS = {"": 1.0, "pixel": 1.0, "pixels": 1.0, "px": 1.0}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "millisecond": 1e-3}

# Names of the axes that a crystal may turn about.
_AXES = ("omega", "phi", "chi", "kappa")

# Characters of a text that is metadata, and bytes of one that is stored.
_LONGEST = 200
_LARGEST = 2**16

_Fields = dict[str, h5py.Dataset]
_Units = dict[str, float] | None


def read_metadata(file: h5py.File, ownership: Ownership | None = None) -> Metadata:
    """Return what a file says about the experiment, in SI units, Å and degrees.

    Args:
        file: The file.
        ownership: What of it belongs to the images, where there are some: that counts
            before what belongs to another detector.
    """
    fields = _fields(file, ownership)
    pixel_size = _pair(fields, "y_pixel_size", "x_pixel_size", units=(_METERS, _METERS))
    start_angle, angle_increment = _rotation(fields)
    return Metadata(
        detector=_text(fields, "detector/description"),
        wavelength=_number(fields, "incident_wavelength", "wavelength"),
        distance=_number(fields, "detector_distance", "distance", units=_METERS),
        exposure=_number(fields, "count_time", units=_SECONDS),
        pixel_size=pixel_size,
        beam_centre=_pair(
            fields, "beam_center_y", "beam_center_x", units=_to_pixels(pixel_size)
        ),
        two_theta=_number(fields, "two_theta"),
        start_angle=start_angle,
        angle_increment=angle_increment,
        sensor_material=_text(fields, "sensor_material"),
        sensor_thickness=_number(fields, "sensor_thickness", units=_METERS),
        saturation=_number(
            fields, "saturation_value", "countrate_correction_count_cutoff"
        ),
    )


def read_angles(
    file: h5py.File, ownership: Ownership, num_frames: int, first: float | None = None
) -> Float[np.ndarray, " frame"] | None:
    """Return the angle at which each frame starts, None where a file does not tell.

    A part of a scan has the angles of the numbers that its images tell.

    Args:
        file: The file.
        ownership: What of it belongs to the images.
        num_frames: Number of frames.
        first: Number of the first frame, from 1, where the images tell it.
    """
    axis = _scanned(_fields(file, ownership))
    if axis is None or len(axis.shape) != 1 or axis.shape[0] < 2:
        return None
    angles = np.ravel(read_values(axis)).astype(float)
    if len(angles) == num_frames:
        return angles
    if first is not None and 0 < first <= len(angles) - num_frames + 1:
        return angles[int(first) - 1 :][:num_frames]
    return np.full(num_frames, np.nan)


def _fields(file: h5py.File, ownership: Ownership | None) -> _Fields:
    """Return the datasets by their names, and by their groups' names before them."""
    named = list(walk_names(file)) if ownership is None else list(ownership.named)
    if ownership is not None:
        channel = ownership.channel
        named.sort(
            key=lambda each: (
                channel is None or not channel.is_of_this(each.path),
                each.owner not in ownership.owners,
            )
        )
    fields: _Fields = {}
    for each in named:
        if each.item.size:
            *_, group, own = each.path.split("/")
            fields.setdefault(own, each.item)
            fields.setdefault(f"{group}/{own}", each.item)
    return fields


def _to_pixels(
    pixel_size: tuple[float, float] | None,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the factors from units to pixels, along rows and along columns.

    Those of lengths, as NeXus asks for, are among them where the size of a pixel is
    known.
    """
    if pixel_size is None:
        return _PIXELS, _PIXELS
    height, width = (
        {unit: factor / size for unit, factor in _METERS.items()} if size > 0 else {}
        for size in pixel_size
    )
    return height | _PIXELS, width | _PIXELS


def _text(fields: _Fields, name: str) -> str | None:
    item = fields.get(name)
    if item is None or item.size != 1 or item.dtype.kind not in "OS":
        return None
    if item.dtype.itemsize > _LARGEST:
        return None
    return text(read_values(item))[:_LONGEST]


def _number(fields: _Fields, *names: str, units: _Units = None) -> float | None:
    """Return the first single number among `names`, in SI units where asked for."""
    for name in names:
        item = fields.get(name)
        if item is None or item.dtype.kind not in "uif" or item.size != 1:
            continue
        unit = text_attribute(item, "units").strip()
        # a capital letter changes what a symbol means, not what a word does
        factor = 1.0 if units is None else units.get(unit, units.get(unit.lower()))
        if factor is not None:
            return float(np.ravel(read_values(item))[0]) * factor
    return None


def _pair(
    fields: _Fields,
    row: str,
    column: str,
    *,
    units: tuple[dict[str, float], dict[str, float]],
) -> tuple[float, float] | None:
    along_rows = _number(fields, row, units=units[0])
    along_columns = _number(fields, column, units=units[1])
    if along_rows is None or along_columns is None:
        return None
    return along_rows, along_columns


def _scanned(fields: _Fields) -> h5py.Dataset | None:
    """Return the angles of the axis that moves, else those of omega, if there are any.

    An axis of one angle moves where its range is told.
    """
    known = {
        name: fields[name]
        for name in _AXES
        if name in fields and _may_be_angles(fields[name])
    }
    for item in known.values():
        if item.shape and np.ptp(read_values(item)):
            return item
    for name, item in known.items():
        if item.size == 1 and _width(fields, name):
            return item
    return known.get("omega")


def _may_be_angles(item: h5py.Dataset) -> bool:
    """Return whether a dataset is a number, or a list as long as a scan can be."""
    numbers = item.dtype.kind in "uif" and len(item.shape) < 2
    return numbers and math.prod(item.shape) <= MOST_FRAMES


def _width(fields: _Fields, name: str) -> float | None:
    """Return the rotation of a frame that a file tells of an axis, if any."""
    return _number(fields, f"{name}_range_average", f"{name}_increment_set")


def _rotation(fields: _Fields) -> tuple[float | None, float | None]:
    """Return the angle of the first frame and the step to the next."""
    axis = _scanned(fields)
    if axis is None:
        return None, None
    angles = np.ravel(read_values(axis))
    if len(angles) > 1:
        return float(angles[0]), float(angles[1] - angles[0])
    name = next(name for name in _AXES if fields.get(name) == axis)
    return float(angles[0]), _width(fields, name)
