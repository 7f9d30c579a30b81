"""What may a user decide about a denoising of files?"""

import math
from dataclasses import dataclass


class SettingsError(ValueError):
    """A setting makes no sense, whatever the data."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may decide; all else comes from the data.

    Attributes:
        alpha: Strength in the unit of the data; None chooses it.
        per_frame: Whether each frame gets a strength of its own.
        noise: `auto`, `poisson[:GAIN]`, `gaussian[:SIGMA]` or
            `mixed:GAIN,SIGMA[,OFFSET]`; what is left out is estimated.
        mask: File with a mask to apply besides the input's own.
        frames: Range of frames `A:B` as Python slices, from 0 and without B.
        dataset: Path of the images in an HDF5 file that holds several stacks.
        dtype: Type of the output: `uint32`, `int32` or `float32`.
        scale: Stored value of one count.
        overwrite: Whether an existing output is replaced.
        force: Whether to denoise what tvjax denoised before.
        emit: Integration programs to write input lines for.
    """

    alpha: float | None = None
    per_frame: bool = False
    noise: str = "auto"
    mask: str | None = None
    frames: str | None = None
    dataset: str | None = None
    dtype: str | None = None
    scale: int | None = None
    overwrite: bool = False
    force: bool = False
    emit: tuple[str, ...] = ()

    def __post_init__(self):
        if self.alpha is not None and not 0 < self.alpha < math.inf:
            raise SettingsError(f"`alpha` must be positive, got {self.alpha:g}.")
        if self.alpha is not None and self.per_frame:
            raise SettingsError("`alpha` is one number: drop it, or `per_frame`.")
        parse_noise(self.noise)
        parse_frames(self.frames)


def parse_frames(text: str | None) -> slice:
    """Return the slice that `A:B` means; None is everything.

    Raises:
        SettingsError: The text is not a range.
    """
    first, colon, last = (text or ":").partition(":")
    try:
        if not colon:
            raise ValueError
        return slice(int(first) if first else None, int(last) if last else None)
    except ValueError:
        raise SettingsError(
            f"`frames` must be a range A:B such as 0:10, got {text}."
        ) from None


def parse_noise(text: str) -> tuple[str, tuple[float, ...]]:
    """Return kind and parameters of a noise model in words.

    Raises:
        SettingsError: There is no such model, or it has other parameters.
    """
    kind, _, rest = text.partition(":")
    allowed = {"auto": (0,), "poisson": (0, 1), "gaussian": (0, 1), "mixed": (2, 3)}
    try:
        numbers = tuple(float(number) for number in rest.split(",")) if rest else ()
    except ValueError:
        numbers = None
    if numbers is None or len(numbers) not in allowed.get(kind, ()):
        raise SettingsError(
            "`noise` must be auto, poisson[:GAIN], gaussian[:SIGMA] or "
            f"mixed:GAIN,SIGMA[,OFFSET], got {text}."
        )
    return kind, numbers
