"""How are SMV, Oxford, Nonius, EDF and the other detectors' formats read?"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import fabio
import numpy as np
from fabio.fabioimage import FabioImage
from jaxtyping import Num

from tvjax.io.errors import FileError
from tvjax.io.series import Description, Metadata

_LOGGER = logging.getLogger("fabio")
# Without a handler, remarks would reach the terminal beside the one sentence.
_LOGGER.addHandler(logging.NullHandler())

_QUANTITIES = {
    "wavelength": {"WAVELENGTH": 1, "Alpha1": 1},
    "distance": {"DISTANCE": 1e-3},
    "exposure": {"TIME": 1, "Exposure time in sec": 1, "Exposure time": 1},
    "two_theta": {"TWOTHETA": 1},
    "start_angle": {"OSC_START": 1},
    "angle_increment": {"OSC_RANGE": 1},
    "saturation": {"CCD_IMAGE_SATURATION": 1, "Overflow threshold": 1},
}
_NAMES = ("DETECTOR", "Detector type", "Detector ID")


def describe(path: Path) -> Description:
    """Return the number of frames and what the header tells."""
    with _open(path) as image:
        return Description(image.nframes, _metadata(image.header), None)


def read(
    path: Path, start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
    """Yield the frames from `start` to `stop`."""
    with _open(path) as image:
        for index in range(start, stop):
            with _strict():
                data = (image.getframe(index) if index else image).data
            yield data, ""


def _open(path: Path) -> FabioImage:
    try:
        with _strict():
            return fabio.open(str(path))
    except OSError as error:
        if "could not identify" not in str(error):
            raise
        raise FileError(
            f"{path} has no format that is known here: tvjax reads HDF5 (NeXus, "
            "DECTRIS), CBF, TIFF, MarCCD, SMV, Oxford, Nonius, EDF and what else fabio "
            "reads, also as .gz or .bz2."
        ) from error


class _Errors(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self):
        logging.Handler.__init__(self, logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Raise what fabio only logs: it fills an incomplete image with zeros."""
    errors = _Errors()
    _LOGGER.addHandler(errors)
    try:
        yield
    finally:
        _LOGGER.removeHandler(errors)
    if errors.messages:
        raise ValueError(errors.messages[0])


def _metadata(fields: Mapping[str, object]) -> Metadata:
    found = {}
    for quantity, keys in _QUANTITIES.items():
        for key, unit in keys.items():
            try:
                found[quantity] = float(fields[key]) * unit
            except (KeyError, TypeError, ValueError):
                continue
    if (size := fields.get("PIXEL_SIZE")) is not None:
        found["pixel_size"] = (float(size) * 1e-3,) * 2
    names = [str(fields[name]).strip() for name in _NAMES if name in fields]
    return Metadata(detector=names[0] if names else None, **found)
