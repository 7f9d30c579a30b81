"""What does an HDF5 file tell of the measurement?"""

import h5py
import numpy as np

from tvjax.io.hdf5.tree import text, walk
from tvjax.io.series import Metadata

_METERS = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "micrometer": 1e-6}
_PIXELS = {"": 1.0, "pixel": 1.0, "pixels": 1.0}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "millisecond": 1e-3}
_NUMBERS = {
    "wavelength": (("incident_wavelength", "wavelength"), None),
    "distance": (("detector_distance", "distance"), _METERS),
    "exposure": (("count_time",), _SECONDS),
    "two_theta": (("two_theta",), None),
    "sensor_thickness": (("sensor_thickness",), _METERS),
    "saturation": (("saturation_value", "countrate_correction_count_cutoff"), None),
}
_TEXTS = {"detector": "detector/description", "sensor_material": "sensor_material"}
_PAIRS = {
    "pixel_size": ("y_pixel_size", "x_pixel_size", _METERS),
    "beam_center": ("beam_center_y", "beam_center_x", _PIXELS),
}


def read_metadata(file: h5py.File) -> Metadata:
    fields: dict[str, h5py.Dataset] = {}
    for name, item in walk(file):
        if isinstance(item, h5py.Dataset) and item.size:
            *_, group, own = name.split("/")
            fields.setdefault(own, item)
            fields.setdefault(f"{group}/{own}", item)
    found: dict[str, object] = {}
    for quantity, (names, units) in _NUMBERS.items():
        numbers = (_number(fields.get(name), units) for name in names)
        found[quantity] = next((n for n in numbers if n is not None), None)
    for quantity, name in _TEXTS.items():
        found[quantity] = text(fields[name][()]) if name in fields else None
    for quantity, (*names, units) in _PAIRS.items():
        pair = tuple(_number(fields.get(name), units) for name in names)
        found[quantity] = None if None in pair else pair
    omega = fields.get("omega")
    if omega is not None and omega.dtype.kind == "f":
        angles = np.ravel(omega[()])
        found["start_angle"] = float(angles[0])
        if len(angles) > 1:
            found["angle_increment"] = float(angles[1] - angles[0])
    return Metadata(**found)


def _number(item: h5py.Dataset | None, units: dict[str, float] | None) -> float | None:
    """Return a single number, in SI units where `units` tells how to get there."""
    if item is None or item.dtype.kind not in "uif" or item.size != 1:
        return None
    number = float(np.ravel(item[()])[0])
    if units is None:
        return number
    unit = units.get(text(item.attrs.get("units", "")))
    return None if unit is None else number * unit
