"""SMV, Oxford, Nonius, EDF and the other detectors' formats, as fabio reads them."""

import contextlib
import io
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import fabio
import numpy as np
from fabio.fabioimage import FabioImage
from jaxtyping import Num

from tvjax.io.compressed import is_compressed, open_binary
from tvjax.io.errors import NoImages
from tvjax.io.invalid_values import Declared
from tvjax.io.limits import check_images
from tvjax.io.series import Description, Metadata

_LOGGER = logging.getLogger("fabio")
# Without a handler, remarks would reach the terminal beside the one sentence.
_LOGGER.addHandler(logging.NullHandler())

# Bytes that are read at once, and pixels that a byte may hold where images are packed.
_PIECE = 2**20
_MOST_PACKED = 256

# Name of the format, and the first bytes of its files: fabio takes all that is left.
NAME = "detectors"
MAGICS: tuple[bytes, ...] = ()

# First bytes of files that fabio would take for others, or for damaged ones.
_UNREAD = {
    b"IMGBLO": "Blockfile",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\x93NUMPY": "NumPy",
    b"MATLAB": "MATLAB",
    b"%PDF": "PDF",
    b"\x0e\x03\x13\x01": "HDF4",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def describe(path: Path) -> Description:
    """Return the number of frames and the metadata in the header."""
    with _open(path) as image:
        header = image.header
        return Description(image.nframes, _metadata(header), None, _declared(header))


def read(
    path: Path, start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "height width"], str]]:
    """Yield the frames from `start` to `stop`, and the angle in the file's header."""
    with _open(path) as image:
        angle = _number(image.header, "OSC_START")
        header = "" if angle is None else f"# Start_angle {angle:.10g} deg.\n"
        for index in range(start, stop):
            with _strict():
                data = (image.getframe(index) if index else image).data
            if data is None:
                raise ValueError(f"there is no image {index} in it")
            yield data, "" if index else header


def _open(path: Path) -> FabioImage:
    with open_binary(path) as file:
        start = file.read(8)
        size = _size(path, file)
    for magic, kind in _UNREAD.items():
        if start.startswith(magic):
            raise _unknown(path, f" ({kind})")
    try:
        with _strict():
            image = fabio.open(str(path))
    except OSError as error:
        if "could not identify" not in str(error):
            raise
        raise _unknown(path, "") from error
    check_images(path, "", 1, image.shape)
    if math.prod(image.shape) > _MOST_PACKED * size:
        image.close()
        raise ValueError(f"{size} bytes cannot hold an image of {image.shape}")
    if 0 in image.shape:  # as of a file whose first two bytes are by chance a format's
        image.close()
        raise _unknown(path, "")
    return image


def _size(path: Path, file: io.BufferedIOBase) -> int:
    """Return the number of bytes in a file, unpacked where it is compressed.

    fabio unpacks all of it into the memory, and does not ask how much that is.
    """
    if not is_compressed(path):
        return path.stat().st_size
    while file.read(_PIECE):
        pass
    return file.tell()


def _unknown(path: Path, what: str) -> NoImages:
    """Return the refusal of a file, and `what` it is."""
    return NoImages(
        f"{path} has no format that is known here{what}: tvjax reads HDF5 (NeXus, "
        "DECTRIS), CBF, TIFF, MarCCD, SMV, Oxford, Nonius, EDF and what else fabio "
        "reads, also as .gz or .bz2."
    )


class _Errors(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self) -> None:
        """Start without any."""
        logging.Handler.__init__(self, logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
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


def _metadata(fields: Mapping[str, str | float]) -> Metadata:
    names = (fields.get(key) for key in ("DETECTOR", "Detector type", "Detector ID"))
    size = _number(fields, "PIXEL_SIZE", unit=1e-3)
    return Metadata(
        detector=next((str(name).strip() for name in names if name is not None), None),
        wavelength=_number(fields, "WAVELENGTH", "Alpha1"),
        distance=_number(fields, "DISTANCE", unit=1e-3),
        exposure=_number(fields, "TIME", "Exposure time in sec", "Exposure time"),
        pixel_size=None if size is None else (size, size),
        two_theta=_number(fields, "TWOTHETA"),
        start_angle=_number(fields, "OSC_START"),
        angle_increment=_number(fields, "OSC_RANGE"),
        saturation=_number(fields, "CCD_IMAGE_SATURATION", "Overflow threshold"),
    )


def _declared(fields: Mapping[str, str | float]) -> Declared:
    """Return the dummy value of an EDF header, with what it may differ by."""
    known = {key.lower(): value for key, value in fields.items()}
    dummy = _number(known, "dummy")
    if dummy is None or math.isnan(dummy):
        return Declared()
    margin = abs(_number(known, "ddummy") or 0.0)
    return Declared(marks=((dummy - margin, dummy + margin),))


def _number(
    fields: Mapping[str, str | float], *keys: str, unit: float = 1.0
) -> float | None:
    """Return the number under the last of `keys` that has one, times `unit`."""
    found = None
    for key in keys:
        try:
            found = float(fields[key]) * unit
        except (KeyError, TypeError, ValueError):
            continue
    return found
