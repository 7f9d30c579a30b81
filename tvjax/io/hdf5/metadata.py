"""The metadata of a measurement, as an HDF5 file keeps it."""

import h5py
import numpy as np

from tvjax.io.hdf5.tree import text, text_attribute, walk_datasets
from tvjax.io.series import Metadata

# Factors to SI units, by the unit that a dataset names; a length must name one.
_METERS = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "micrometer": 1e-6}
_PIXELS = {"": 1.0, "pixel": 1.0, "pixels": 1.0}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "millisecond": 1e-3}

_Fields = dict[str, h5py.Dataset]
_Units = dict[str, float] | None


def read_metadata(file: h5py.File) -> Metadata:
    """Return what a file says about the experiment, in SI units, Å and degrees."""
    fields = _fields(file)
    start_angle, angle_increment = _rotation(fields)
    return Metadata(
        detector=_text(fields, "detector/description"),
        wavelength=_number(fields, "incident_wavelength", "wavelength"),
        distance=_number(fields, "detector_distance", "distance", units=_METERS),
        exposure=_number(fields, "count_time", units=_SECONDS),
        pixel_size=_pair(fields, "y_pixel_size", "x_pixel_size", units=_METERS),
        beam_centre=_pair(fields, "beam_center_y", "beam_center_x", units=_PIXELS),
        two_theta=_number(fields, "two_theta"),
        start_angle=start_angle,
        angle_increment=angle_increment,
        sensor_material=_text(fields, "sensor_material"),
        sensor_thickness=_number(fields, "sensor_thickness", units=_METERS),
        saturation=_number(
            fields, "saturation_value", "countrate_correction_count_cutoff"
        ),
    )


def _fields(file: h5py.File) -> _Fields:
    """Return the datasets by their names, and by their groups' names before them."""
    fields: _Fields = {}
    for name, item in walk_datasets(file):
        if item.size:
            *_, group, own = name.split("/")
            fields.setdefault(own, item)
            fields.setdefault(f"{group}/{own}", item)
    return fields


def _text(fields: _Fields, name: str) -> str | None:
    return text(fields[name][()]) if name in fields else None


def _number(fields: _Fields, *names: str, units: _Units = None) -> float | None:
    """Return the first single number among `names`, in SI units where asked for."""
    for name in names:
        item = fields.get(name)
        if item is None or item.dtype.kind not in "uif" or item.size != 1:
            continue
        factor = 1.0 if units is None else units.get(text_attribute(item, "units"))
        if factor is not None:
            return float(np.ravel(item[()])[0]) * factor
    return None


def _pair(
    fields: _Fields, row: str, column: str, *, units: _Units
) -> tuple[float, float] | None:
    along_rows = _number(fields, row, units=units)
    along_columns = _number(fields, column, units=units)
    if along_rows is None or along_columns is None:
        return None
    return along_rows, along_columns


def _rotation(fields: _Fields) -> tuple[float | None, float | None]:
    """Return the angle of the first frame and the step to the next."""
    omega = fields.get("omega")
    if omega is None or omega.dtype.kind != "f":
        return None, None
    angles = np.ravel(omega[()])
    step = float(angles[1] - angles[0]) if len(angles) > 1 else None
    return float(angles[0]), step
