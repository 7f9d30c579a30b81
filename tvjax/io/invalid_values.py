"""The stored values that say that a pixel is invalid."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num

# Signed detectors write −1 into gaps and −2 into bad pixels, and nothing below.
GAP, BAD = -1, -2

# Pixels of one value that are no chance, where only a mark or a limit repeats exactly.
MANY = 10

# Share of the pixels at −1 and −2 that may lie below without being a pedestal's: odd
# pixels of a detector that counts. Of noise of one unit about zero, 2 % do.
ODD = 0.005

# Share of the pixels at a value that a gap keeps from frame to frame; noise of a
# pedestal moves them.
STEADY = 0.9

# Part of a type's range below its marks in which a saturated tail shows itself.
TAIL = 64

# Bits up to which a count can come near the largest value.
REACHED = 16

# Least and greatest value of what is no reading, both included.
Span = tuple[float, float]


class Declared(NamedTuple):
    """What a file declares of the values that are no readings.

    Attributes:
        marks: Spans of values that the file names.
        lowest: The lowest value that is a reading, if it names one.
        bit_depth: Bits of a value; None where it says nothing.
        readout_depth: Bits of a readout, of which a value may sum several.
    """

    marks: tuple[Span, ...] = ()
    lowest: float | None = None
    bit_depth: int | None = None
    readout_depth: int | None = None


class InvalidValues(NamedTuple):
    """The values in a series that are no readings: they mark invalid pixels.

    NaN and infinity are none in any series.

    Attributes:
        marks: Spans of values.
        lowest: The lowest value that is a reading; None where there is no limit.
    """

    marks: tuple[Span, ...] = ()
    lowest: float | None = None

    @classmethod
    def of_type(cls, dtype: np.dtype) -> "InvalidValues":
        """Return what a type alone tells, of which no other value is known.

        The largest value of an unsigned type is a mark, with the one below where no
        count comes near; so is the least of a signed one.
        """
        if dtype.kind == "u":
            return cls(_marks_of_depth(8 * dtype.itemsize))
        if dtype.kind == "i":
            least = int(np.iinfo(dtype).min)
            return cls(((least, least),))
        return cls()

    def valid(self, data: Num[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
        """Return True where the stored value is a reading."""
        if data.dtype.kind == "f":
            # what single precision lacks is no reading: a fill value, or damage
            with np.errstate(over="ignore"):
                valid = np.isfinite(data.astype(np.float32, copy=False))
            bottom, top = -np.inf, np.inf
        else:
            valid = np.ones(data.shape, bool)
            bottom, top = np.iinfo(data.dtype).min, np.iinfo(data.dtype).max
        with np.errstate(over="ignore"):  # a mark may be beyond the type of the data
            for least, greatest in self.marks:
                if least == greatest:
                    valid &= data != least
                elif greatest >= top:
                    valid &= data < least
                elif least <= bottom:
                    valid &= data > greatest
                else:
                    valid &= (data < least) | (data > greatest)
        if self.lowest is not None and self.lowest > bottom:
            valid &= data >= self.lowest
        return valid


def find_invalid_values(
    frames: Sequence[Num[np.ndarray, "height width"]], declared: Declared | None = None
) -> tuple[InvalidValues, tuple[str, ...]]:
    """Return the invalid values of a series, and what is doubtful about them.

    What the file declares decides; where it is silent, the type and a few frames do.

    Args:
        frames: One or more frames of the series.
        declared: What the file says.

    Returns:
        The invalid values, and clauses that end with a remedy, one for each doubt.
    """
    declared = declared or Declared()
    told = InvalidValues(declared.marks, declared.lowest)
    if frames[0].dtype.kind == "f":
        found, doubts = _floating(frames, told)
    else:
        found, doubts = _integers(frames, told, declared)
    return found, tuple(doubts)


def _marks_of_depth(bits: int) -> tuple[Span, ...]:
    """Return the marks of values of so many bits, before any was looked at."""
    top = 2**bits - 1
    return ((top, top),) if bits <= REACHED else ((top - 1, top),)


def _integers(
    frames: Sequence[Num[np.ndarray, "height width"]],
    told: InvalidValues,
    declared: Declared,
) -> tuple[InvalidValues, list[str]]:
    dtype = frames[0].dtype
    doubts: list[str] = []
    bits = 8 * dtype.itemsize
    depth = declared.bit_depth or declared.readout_depth
    marks = told.marks
    if dtype.kind == "u":
        marks += _looked_at(frames, bits, declared=depth == bits)
    else:
        marks += InvalidValues.of_type(dtype).marks
    if depth is not None and 1 < depth < bits:
        top = 2**depth - 1
        above = _count(frames, InvalidValues(marks), low=top + 1)
        if above <= _count(frames, InvalidValues(), low=top - 1, high=top):
            marks += _looked_at(frames, depth, declared=True)
        elif declared.bit_depth:
            doubts.append(
                f"declares {depth} bits and has {above} pixels above them: the "
                "declaration was ignored; name the invalid pixels with --mask"
            )
    found = InvalidValues(tuple(dict.fromkeys(marks)), told.lowest)
    if dtype.kind == "i":
        found = _signed(frames, found)
    doubts += _repeated(frames, found, _ends_of_counters(bits))
    return found, doubts


def _looked_at(
    frames: Sequence[Num[np.ndarray, "height width"]], bits: int, *, declared: bool
) -> tuple[Span, ...]:
    """Return the marks of values of so many bits: the greatest, and the one below.

    Not the one below where readings come up to it: a saturated spot passes through all
    values, most of which no mark takes. In eight bits any image can have it, so that
    there it must be declared or keep its place.
    """
    if bits > REACHED:
        return _marks_of_depth(bits)
    top = 2**bits - 1
    tail = _count(frames, InvalidValues(), low=top - 1 - 2**bits // TAIL, high=top - 2)
    saturated = tail > _count(frames, InvalidValues(), low=top - 1, high=top - 1)
    if bits == 8 and not declared:
        saturated |= not _is_steady(frames, InvalidValues(), top - 1)
    return ((top, top),) if saturated else ((top - 1, top),)


def _signed(
    frames: Sequence[Num[np.ndarray, "height width"]], told: InvalidValues
) -> InvalidValues:
    """Return the marks of a signed type among its negative values.

    A detector that counts has no negative readings. One with a pedestal, such as a CCD,
    has many of many values; there only what stays in its place is a mark.
    """
    below = _count(frames, told, high=BAD - 1)
    marked = _count(frames, told, low=BAD, high=GAP)
    spread = _count(frames, told, low=BAD - 1, high=BAD - 1)
    pedestal = below > marked or (spread > 0 and below > ODD * marked)
    if not pedestal:
        return told._replace(lowest=max(told.lowest or 0, 0))
    steady = tuple(
        (value, value) for value in (GAP, BAD) if _is_steady(frames, told, value)
    )
    return told._replace(marks=told.marks + steady)


def _floating(
    frames: Sequence[Num[np.ndarray, "height width"]], told: InvalidValues
) -> tuple[InvalidValues, list[str]]:
    """Return the marks that an average or a conversion has left in floats."""
    negative = _count(frames, told, high=np.nextafter(0, -1))
    gaps = sum(_count(frames, told, low=v, high=v) for v in (GAP, BAD))
    if gaps >= MANY and gaps == negative:
        found = told._replace(lowest=max(told.lowest or 0, 0))
        return found, [
            f"has {gaps} pixels of exactly −1 or −2 and no other negative value: they "
            "were taken for gaps; if they are readings, add a constant to all values"
        ]
    lowest = min(
        (float(np.min(f, where=told.valid(f), initial=np.inf)) for f in frames),
        default=0.0,
    )
    suspects = [GAP, BAD, *_ends_of_counters(64)]
    if lowest < 0 and np.isfinite(lowest):
        suspects.append(lowest)
    # as the type rounds them, or one would be found twice
    rounded = [float(frames[0].dtype.type(value)) for value in suspects]
    return told, _repeated(frames, told, rounded)


def _ends_of_counters(bits: int) -> tuple[float, ...]:
    """Return the marks of shorter unsigned types, which a conversion may have kept."""
    shorter = [n for n in (16, 32) if n < bits]
    return tuple(2**n - k for n in shorter for k in (1, 2))


def _repeated(
    frames: Sequence[Num[np.ndarray, "height width"]],
    told: InvalidValues,
    suspects: Sequence[float],
) -> list[str]:
    """Return a clause for each suspected mark that many pixels have, and keep."""
    doubts = []
    for value in dict.fromkeys(suspects):
        number = _count(frames, told, low=value, high=value)
        if number >= MANY * len(frames) and _stays(frames, told, value):
            doubts.append(
                f"has {number // len(frames)} pixels of exactly {value:.10g} in a "
                "frame and takes them for readings: if they are gaps, name them with "
                "--mask"
            )
    return doubts


def _is_steady(
    frames: Sequence[Num[np.ndarray, "height width"]], told: InvalidValues, value: float
) -> bool:
    """Return whether frames that differ all have a value in the same pixels."""
    differ = any(not np.array_equal(frames[0], other) for other in frames[1:])
    number = _count(frames, told, low=value, high=value)
    return differ and number >= len(frames) and _stays(frames, told, value)


def _stays(
    frames: Sequence[Num[np.ndarray, "height width"]], told: InvalidValues, value: float
) -> bool:
    places = [told.valid(frame) & (frame == value) for frame in frames]
    anywhere = np.count_nonzero(np.logical_or.reduce(places))
    everywhere = np.count_nonzero(np.logical_and.reduce(places))
    return bool(everywhere >= STEADY * anywhere)


def _count(
    frames: Sequence[Num[np.ndarray, "height width"]],
    told: InvalidValues,
    *,
    low: float | None = None,
    high: float | None = None,
) -> int:
    """Return the number of pixels from `low` to `high` that are not told invalid."""
    found = _within(frames, told, low, high)
    return sum(int(np.count_nonzero(within)) for within in found)


def _within(
    frames: Sequence[Num[np.ndarray, "height width"]],
    told: InvalidValues,
    low: float | None,
    high: float | None,
) -> Iterator[Bool[np.ndarray, "height width"]]:
    for frame in frames:
        within = np.ones(frame.shape, bool)
        if low is not None:
            within &= frame >= low
        if high is not None:
            within &= frame <= high
        if within.any():
            within &= told.valid(frame)
        yield within
