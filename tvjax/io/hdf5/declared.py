"""What an HDF5 file declares of the values in its images that are no readings."""

from collections.abc import Iterator, Sequence

import h5py
import h5py.h5d
import numpy as np

from tvjax.io.hdf5.layout import FrameDataset
from tvjax.io.hdf5.ownership import Ownership
from tvjax.io.invalid_values import Declared, Span

# Attributes of images that name values that are no readings, as netCDF has them.
FILLS = ("_FillValue", "missing_value")


def find_declared(datasets: Sequence[FrameDataset], ownership: Ownership) -> Declared:
    """Return what a file declares of the values in the images of `datasets`."""
    spans = [span for each in datasets for span in _fills(each.images)]
    lowest = [_attribute(each.images, "valid_min") for each in datasets]
    lowest.append(ownership.number("underload_value"))
    return Declared(
        marks=tuple(dict.fromkeys(spans)),
        lowest=max((value for value in lowest if value is not None), default=None),
        bit_depth=_bits(ownership, "bit_depth_image"),
        readout_depth=_bits(ownership, "bit_depth_readout"),
    )


def _bits(ownership: Ownership, name: str) -> int | None:
    """Return a number of bits; None where it is none or makes no sense."""
    value = ownership.number(name)
    return int(value) if value is not None and 0 < value <= 64 else None


def _fills(images: h5py.Dataset) -> Iterator[Span]:
    """Yield the values that stand where nothing was measured or written."""
    for name in FILLS:
        value = _attribute(images, name)
        if value is not None:
            yield value, value
    # Zero is what HDF5 fills with by itself, and most often a reading.
    defined = images.id.get_create_plist().fill_value_defined()
    if defined == h5py.h5d.FILL_VALUE_USER_DEFINED and images.fillvalue < 0:
        yield images.fillvalue.item(), images.fillvalue.item()


def _attribute(images: h5py.Dataset, name: str) -> float | int | None:
    """Return an attribute that is one number; NaN is none in any series."""
    values = np.ravel(images.attrs.get(name, ()))
    if len(values) != 1 or values.dtype.kind not in "uif" or np.isnan(values[0]):
        return None
    return values[0].item()
