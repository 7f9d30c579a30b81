"""The stored values that say that a pixel is invalid."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num

# The lowest value that marks a pixel: signed detectors write −1 into gaps and −2 into
# bad pixels, and nothing below.
LOWEST = -2


class InvalidValues(NamedTuple):
    """The values in a series that are no readings: they mark invalid pixels.

    Floating types have NaN and infinity, unsigned ones their largest value, signed ones
    the negative values. A signed image with values below −2 comes from a detector with
    a pedestal, such as a CCD; its negative values are readings.
    """

    negative: bool  # whether the negative values of a signed type are no readings

    @classmethod
    def of(cls, data: Num[np.ndarray, "height width"]) -> "InvalidValues":
        """Return the invalid values of the series that starts with `data`."""
        signed = np.issubdtype(data.dtype, np.signedinteger)
        return cls(bool(signed and data.size and data.min() >= LOWEST))

    def valid(self, data: Num[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
        """Return True where the stored value is a reading."""
        if np.issubdtype(data.dtype, np.floating):
            return np.isfinite(data)
        if np.issubdtype(data.dtype, np.unsignedinteger):
            return data != np.iinfo(data.dtype).max
        return data >= 0 if self.negative else np.ones(data.shape, bool)
