"""Which stored values say that a pixel is invalid?"""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Num

LOWEST_MARK = -2
"""Signed detectors write −1 into gaps and −2 into bad pixels."""


class Marks(NamedTuple):
    """The marks of one series: NaN, the largest unsigned value, or negative values.

    A signed image with values below −2 comes from a detector with a pedestal, such as
    a CCD; its negative values are readings.
    """

    negative: bool  # whether negative values of a signed type are marks

    @classmethod
    def of(cls, data: Num[np.ndarray, "height width"]) -> Self:
        """Return the marks of the series that starts with `data`."""
        signed = np.issubdtype(data.dtype, np.signedinteger)
        return cls(bool(signed and data.size and data.min() >= LOWEST_MARK))

    def valid(
        self, data: Num[np.ndarray, "height width"]
    ) -> Bool[np.ndarray, "height width"]:
        """Return True where the stored value is a reading."""
        if np.issubdtype(data.dtype, np.floating):
            return np.isfinite(data)
        if np.issubdtype(data.dtype, np.unsignedinteger):
            return data != np.iinfo(data.dtype).max
        return data >= 0 if self.negative else np.ones(data.shape, bool)
