"""The numbers that a denoised image is stored as, for other programs to read."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Num

from tvjax.io.errors import FileError
from tvjax.io.invalid_values import BAD, GAP, InvalidValues
from tvjax.io.series import Frame

# Least default factor from counts to integers: denoised backgrounds lie below one
# count, and would vanish in whole counts.
SCALE = 16

# Relative change of the total counts that rounding may make: half of what a run warns
# of, so that rounding alone never makes it warn.
KEPT = 5e-4

# Largest integer written: readers take the two above it for invalid pixels, and what
# is above those for negative numbers.
TOP = 2**31 - 3


class Tally(NamedTuple):
    """What writing did to the valid pixels of one or more frames."""

    counts_in: float = 0.0  # sum of the values read
    counts_out: float = 0.0  # sum of the values written, over the scale
    negative: int = 0  # pixels below zero, written as zero
    saturated: int = 0  # pixels at the detector's limit or beyond the largest integer

    def plus(self, other: "Tally") -> "Tally":
        """Return the tally of both."""
        return Tally(
            self.counts_in + other.counts_in,
            self.counts_out + other.counts_out,
            self.negative + other.negative,
            self.saturated + other.saturated,
        )


@dataclass(frozen=True)
class Encoding:
    """Stored value = scale × value, rounded for integers.

    A pixel outside the mask leaves as it came: a value that marks it as invalid becomes
    the one that does so in the output's type, a reading is multiplied by the scale. In
    floating output that value is NaN, since readers of floats skip it by themselves.

    Attributes:
        dtype: Type of the stored values.
        scale: Stored value of one count.
        saturation: Count from which a pixel read cannot be trusted, if known.
    """

    dtype: np.dtype
    scale: int
    saturation: float | None = None

    def encode(
        self,
        image: Num[np.ndarray, "height width"],
        frame: Frame,
        invalid_values: InvalidValues,
    ) -> tuple[Num[np.ndarray, "height width"], Tally]:
        """Return `image`, denoised from `frame`, as stored, and what that did to it."""
        reading = invalid_values.valid(frame.data)
        found = self._whole_counts(image, frame, reading)
        stored, tally = found or self._rounded(image, frame, reading)
        if not reading.all():
            stored[~reading] = self._invalid(frame.data[~reading])
        return stored, tally

    @property
    def mark(self) -> float | int:
        """What an invalid pixel has in the output."""
        return self._invalid(np.zeros(1, np.uint8))[0].item()

    def limit(self, value: Num[ArrayLike, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Return a limit in counts, such as a saturation, as stored."""
        stored = np.asarray(np.multiply(value, self.scale, dtype=np.float64))
        if self.dtype.kind == "f":
            return stored
        return np.asarray(np.minimum(stored, TOP))

    def _rounded(
        self,
        image: Num[np.ndarray, "height width"],
        frame: Frame,
        reading: Bool[np.ndarray, "height width"],
    ) -> tuple[Num[np.ndarray, "height width"], Tally]:
        """Return any image as stored, by way of floating point."""
        value = np.where(frame.mask, image, np.where(reading, frame.data, 0))
        limit = np.inf if self.saturation is None else self.saturation
        saturated = frame.data >= limit
        if self.dtype.kind == "f":
            negative = np.zeros(image.shape, bool)
            stored = value.astype(self.dtype)
        else:
            if value.dtype.kind != "f":
                value = value.astype(np.float64)  # of which no multiple wraps around
            value = np.rint(value * self.scale)
            negative = value < 0
            saturated |= value > TOP
            stored = np.clip(value, 0, TOP).astype(self.dtype)
        valid = frame.mask
        return stored, Tally(
            counts_in=float(np.sum(frame.data, where=valid, dtype=np.float64)),
            counts_out=float(np.sum(stored, where=valid, dtype=np.float64))
            / self.scale,
            negative=int(np.count_nonzero(negative & valid)),
            saturated=int(np.count_nonzero(saturated & valid)),
        )

    def _whole_counts(
        self,
        image: Num[np.ndarray, "height width"],
        frame: Frame,
        reading: Bool[np.ndarray, "height width"],
    ) -> tuple[Num[np.ndarray, "height width"], Tally] | None:
        """Return what `_rounded` does for counts left as they are, in a quarter of it.

        None where floating point has to do it: for another image or type, and where
        values are negative or reach a limit.
        """
        data, valid = frame.data, frame.mask
        whole = data.dtype.kind in "ui" and data.itemsize <= 4
        if image is not data or not whole or self.dtype.kind == "f":
            return None
        value = data if reading.all() else np.where(reading, data, data.dtype.type(0))
        top = int(value.max())
        most = TOP / self.scale if self.saturation is None else self.saturation
        if int(value.min()) < 0 or top * self.scale > TOP or top >= most:
            return None
        stored = np.multiply(value, self.scale, dtype=self.dtype, casting="unsafe")
        if np.count_nonzero(valid) < np.count_nonzero(reading):
            value = np.where(valid, value, value.dtype.type(0))
        counts = float(np.sum(value, dtype=np.float64))
        return stored, Tally(counts_in=counts, counts_out=counts)

    def _invalid(self, found: Num[np.ndarray, " pixel"]) -> Num[np.ndarray, " pixel"]:
        """Return the output's invalid values for those `found` in the input."""
        if self.dtype.kind == "f":
            return np.full(found.shape, np.nan, self.dtype)
        if self.dtype.kind == "u":
            return np.full(found.shape, np.iinfo(self.dtype).max, self.dtype)
        # Of the signed marks only that of a bad pixel means the same everywhere.
        bad = (found == BAD) & (found.dtype.kind == "i")
        return np.where(bad, BAD, GAP).astype(self.dtype)


def choose_encoding(
    source: np.dtype,
    allowed: tuple[str, ...],
    *,
    dtype: str | None,
    scale: int | None,
    saturation: float | None = None,
) -> Encoding:
    """Return the encoding for data of type `source`; counts become integers.

    Args:
        source: Type of the values read.
        allowed: Types that the output's format can hold, the preferred integer first.
        dtype: Type asked for, or None to follow the input.
        scale: Scale asked for, or None for 16 with integers and 1 with floats.
        saturation: Count from which a pixel read cannot be trusted, if known.

    Raises:
        FileError: The format cannot hold the type, or the scale makes no sense.
    """
    if dtype is None:
        dtype = "float32" if source.kind == "f" and scale is None else allowed[0]
    if dtype not in allowed:
        raise FileError(
            f"This format cannot hold {dtype}, only {' and '.join(allowed)}: "
            "write .h5 or .tif for floats, or pass --scale for integers."
        )
    if scale is None:
        scale = 1 if dtype == "float32" else SCALE
    if scale < 1 or (dtype == "float32" and scale != 1):
        raise FileError(
            f"A scale of {scale} makes no sense for {dtype}: "
            "floats keep the scale 1, integers take 1 or more."
        )
    return Encoding(np.dtype(dtype), scale, saturation)


def fit_scale(
    images: Num[np.ndarray, "frame height width"],
    mask: Bool[np.ndarray, "frame height width"],
    *,
    largest: float,
) -> int:
    """Return the power of two, from 16, at which rounding keeps the total counts.

    The plateaus of a denoised image are all rounded the same way: at 16 a background
    of 0.03 counts would vanish.

    Args:
        images: Denoised images like those to be written, in counts.
        mask: True where a pixel is valid.
        largest: Count that must still fit into the integers, even at a larger error.
    """
    if images.dtype.kind in "ui":
        return SCALE  # nothing is rounded
    values = images[mask].astype(np.float64)
    total = values.sum()
    # Errors without a pattern add up to this many steps, with three deviations.
    by_chance = 3 * np.sqrt(values.size / 12)
    scale = SCALE
    while 2 * scale * largest <= TOP:
        change = abs(np.rint(scale * values).sum() / scale - total)
        if change <= KEPT * abs(total) + by_chance / scale:
            break
        scale *= 2
    return scale
