"""The metadata of a measurement, as an HDF5 file keeps it."""

import h5py
import numpy as np

from tvjax.io.hdf5.ownership import Ownership, walk_names
from tvjax.io.hdf5.tree import text, text_attribute
from tvjax.io.hdf5.values import read_values
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


def _fields(file: h5py.File, ownership: Ownership | None) -> _Fields:
    """Return the datasets by their names, and by their groups' names before them."""
    named = list(walk_names(file)) if ownership is None else list(ownership.named)
    if ownership is not None:
        named.sort(key=lambda each: each.owner not in ownership.owners)
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
    return text(read_values(fields[name])) if name in fields else None


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


def _rotation(fields: _Fields) -> tuple[float | None, float | None]:
    """Return the angle of the first frame and the step to the next."""
    omega = fields.get("omega")
    if omega is None or omega.dtype.kind != "f":
        return None, None
    # a list of many is no list of frames, but the first two tell the step
    place = (slice(2),) if len(omega.shape) == 1 else ()
    angles = np.ravel(read_values(omega, place))
    step = float(angles[1] - angles[0]) if len(angles) > 1 else None
    return float(angles[0]), step
