"""The settings of a run over files: what a user may decide."""

import math
import re
from dataclasses import dataclass
from typing import Literal

# Bytes in a unit of memory, by its first letter.
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class SettingsError(ValueError):
    """A setting makes no sense, whatever the data."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may decide about frames; all else comes from the data.

    Attributes:
        alpha: Strength in the unit of the data; None has it chosen, and 0 leaves the
            frames as they are.
        per_frame: Whether each frame gets a strength of its own.
        repeats: Whether the frames are exposures of one scene, which choose each
            other's strength.
        noise: `auto`, `poisson[:GAIN]`, `gaussian[:SIGMA]` or
            `mixed:GAIN,SIGMA[,OFFSET]`; what is left out is estimated.
        weighting: What errors the strength is chosen by: `uniform`, those of all pixels
            alike, or `variance`, over the variance of the noise; None has counts
            weighted.
        protect: Whether spots that stand clear get a lower strength, where it is
            chosen.
        mask: File with a mask to apply besides the input's own.
        frames: Range of frames `A:B` as Python slices, from 0 and without B.
        dataset: Path of the images in an HDF5 file that holds several stacks.
        dtype: Type of the output: `uint32`, `int32` or `float32`.
        scale: Stored value of one count.
        overwrite: Whether an existing output is replaced.
        resume: Whether to go on from what an unfinished run to this output has kept.
        force: Whether to denoise what tvjax denoised before.
        emit: Integration programs to write input lines for.
    """

    alpha: float | None = None
    per_frame: bool = False
    repeats: bool = False
    noise: str = "auto"
    weighting: Literal["uniform", "variance"] | None = None
    protect: bool = True
    mask: str | None = None
    frames: str | None = None
    dataset: str | None = None
    dtype: str | None = None
    scale: int | None = None
    overwrite: bool = False
    resume: bool = False
    force: bool = False
    emit: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha < math.inf:
            raise SettingsError(
                f"`alpha` must be finite and not negative, got {self.alpha:g}."
            )
        if self.weighting not in (None, "uniform", "variance"):
            raise SettingsError(
                f"`weighting` must be uniform or variance, got {self.weighting}."
            )
        if self.alpha is not None and self.per_frame:
            raise SettingsError("`alpha` is one number: drop it, or `per_frame`.")
        if self.repeats and (self.per_frame or self.alpha is not None):
            raise SettingsError(
                "`repeats` choose one strength for all frames: drop it, or "
                f"`{'per_frame' if self.per_frame else 'alpha'}`."
            )
        parse_noise(self.noise)
        parse_frames(self.frames)


@dataclass(frozen=True, kw_only=True)
class SymmetrySettings(Settings):
    """What a user may decide about symmetric patterns, besides `Settings`.

    Attributes:
        group: A group that `tvjax.symmetry.find_group` knows, or `auto`.
        centre: `auto`, `file` for what the input says, or `Y,X` in pixels; the centre
            of the first pixel is 0,0.
        method: `orbit`, total variation of the orbit mean, or `network`.
        weights: File with the weights of the network, as `tvjax train` writes them.
        average: Whether the network sees the pattern in eight orientations.
        per_frame: Whether each frame gets a strength of its own, here by default.
    """

    group: str = "auto"
    centre: str = "auto"
    method: str = "orbit"
    weights: str | None = None
    average: bool = False
    per_frame: bool = True

    def __post_init__(self) -> None:
        if self.repeats:
            raise SettingsError(
                "`repeats` are for frames: a pattern is judged by its own symmetry."
            )
        super().__post_init__()
        if self.method not in ("orbit", "network"):
            raise SettingsError(
                f"`method` must be orbit or network, got {self.method}."
            )
        if (self.method == "network") != (self.weights is not None):
            raise SettingsError(
                "`weights` belong to the network, and it to them: name both, "
                "method and weights, or neither."
            )
        if self.average and self.method != "network":
            raise SettingsError("`average` belongs to the network: ask for both.")
        parse_centre(self.centre)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What a user may decide about a training; all else comes from the data.

    Attributes:
        group: As in `SymmetrySettings`.
        centre: As in `SymmetrySettings`.
        num_steps: Greatest number of steps.
        batch: Number of crops a step.
        start: File with weights to go on from.
        seed: Seed of all random draws.
        device: `cpu`, `gpu` or `tpu`; by default what JAX prefers.
        mask: File with a mask to apply besides the input's own.
        frames: Range of frames `A:B` as Python slices, from 0 and without B.
        dataset: Path of the images in an HDF5 file that holds several stacks.
        overwrite: Whether an existing output is replaced.
        resume: Whether to go on from what an unfinished run to this output has kept.
        force: Whether to learn from what tvjax denoised before.
    """

    group: str = "auto"
    centre: str = "auto"
    num_steps: int = 2000
    batch: int = 8
    start: str | None = None
    seed: int = 0
    device: str | None = None
    mask: str | None = None
    frames: str | None = None
    dataset: str | None = None
    overwrite: bool = False
    resume: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch"):
            if getattr(self, name) < 1:
                raise SettingsError(
                    f"`{name}` must be at least 1, got {getattr(self, name)}."
                )
        parse_frames(self.frames)
        parse_centre(self.centre)


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """What a user may decide about an energy stack; all else comes from the data.

    Attributes:
        rank: Number of components; None has it chosen.
        noise: As in `Settings`, for what the camera counts.
        mask: File with a mask to apply besides the input's own.
        axes: Order of the axes in an HDF5 file, such as `YXE`.
        energies: `START:STOP:N`, a file, `FILE:PATH` or `none`.
        dataset: Path of the stack in an HDF5 file that holds several.
        flat: `FILE[:PATH]` with counts without the sample; gives optical density.
        dark: `FILE[:PATH]` with counts without light.
        register: Whether to undo the jitter between frames.
        whole_pixels: Whether to undo it by whole pixels only.
        references: Files with spectra to fit, each `FILE[=VALENCE[,VALENCE]]` with a
            valence for every spectrum in it.
        map: File that the maps are written to.
        memory: Greatest number of bytes that parts of the stack take in memory.
        dtype: Type of the output: `float32` or `float64`.
        overwrite: Whether an existing output is replaced.
        resume: Whether to go on from what an unfinished run to this output has kept.
        force: Whether to denoise what tvjax denoised before.
    """

    rank: int | None = None
    noise: str = "auto"
    mask: str | None = None
    axes: str | None = None
    energies: str | None = None
    dataset: str | None = None
    flat: str | None = None
    dark: str | None = None
    register: bool = False
    whole_pixels: bool = False
    references: tuple[str, ...] = ()
    map: str | None = None
    memory: int = 2 * 10**9
    dtype: str | None = None
    overwrite: bool = False
    resume: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise SettingsError(f"`rank` must be at least 1, got {self.rank}.")
        if self.axes is not None and sorted(self.axes) != sorted("EYX"):
            raise SettingsError(
                "`axes` must name energy, row and column once each, for instance YXE, "
                f"got {self.axes}."
            )
        if self.dark and not self.flat:
            raise SettingsError("`dark` is of no use without `flat`: name both.")
        if self.whole_pixels and not self.register:
            raise SettingsError("`whole_pixels` belongs to `register`: ask for both.")
        if self.references and not self.map:
            raise SettingsError(
                "`references` are fitted for a `map`: name a file for it."
            )
        parse_noise(self.noise)


def parse_memory(text: str) -> int:
    """Return the bytes that a size such as `2GB` means.

    Raises:
        SettingsError: The text is no size.
    """
    pattern = r"(\d+\.?\d*|\.\d+)\s*([kmgt]?)(i?)b?"
    found = re.fullmatch(pattern, text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise SettingsError(f"`memory` must be a size such as 2GB, got {text}.")
    factor = _SIZES[found[2].lower()]
    if found[3]:
        factor = 1024 ** round(math.log(factor, 1000))
    return int(float(found[1]) * factor)


def parse_centre(text: str) -> tuple[float, float] | None:
    """Return the centre that `Y,X` means; None for `auto` and `file`.

    Raises:
        SettingsError: The text is no centre.
    """
    if text in ("auto", "file"):
        return None
    try:
        row, column = (float(number) for number in text.split(","))
    except ValueError:
        raise SettingsError(
            f"`centre` must be auto, file or Y,X such as 512.5,498.25, got {text}."
        ) from None
    return row, column


def parse_frames(text: str | None) -> slice:
    """Return the slice that `A:B` means; None means everything.

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
    """Return the kind and the parameters of a noise model that is given in words.

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
