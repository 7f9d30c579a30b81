"""The input of every command: its frames, their mask and their noise.

It is there, was not denoised before, has valid pixels and the frames that are wanted.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Num

from tvjax.io import FileError, Frame, open_series, read_mask, Series
from tvjax.io.file_names import split_path
from tvjax.io.reading import Paths
from tvjax.io.series import warn_if_scarce
from tvjax.noise import (
    Correlated,
    diagnose_noise,
    diagnose_repeats,
    Gaussian,
    Noise,
    NoiseReport,
    Poisson,
    PoissonGaussian,
)
from tvjax.settings import (
    parse_frames,
    parse_noise,
    Settings,
    StackSettings,
    TrainingSettings,
)

# Frames from which noise and strength are chosen: enough to average over a scan that
# changes, few enough to be denoised in no time.
SAMPLES = 5
# Words in the names of detectors that count photons one by one.
COUNTING = ("PILATUS", "EIGER", "MEDIPIX", "LAMBDA", "XSPECTRUM")


class AlreadyDenoised(FileError):
    """An input is the output of a run before."""


def open_input(inputs: Paths, settings: Settings | TrainingSettings) -> Series:
    """Open what is to be denoised, with the user's mask.

    Raises:
        FileError: It cannot be read, has no valid pixel, or was denoised before.
    """
    series = open_series(
        inputs, dataset=settings.dataset, numbered=settings.frames is not None
    )
    try:
        return admitted(series, settings)
    except BaseException:
        series.close()
        raise


def admitted(
    series: Series, settings: Settings | StackSettings | TrainingSettings
) -> Series:
    """Return a series that may be denoised, with the user's mask.

    Raises:
        FileError: It was denoised before, or has no valid pixel.
    """
    if series.denoised_by and not settings.force:
        raise AlreadyDenoised(
            f"{series.names[0]} was denoised by {series.denoised_by} before: "
            "start from the raw data, or pass --force."
        )
    if settings.mask is None:
        return series
    given = read_mask(settings.mask, series.shape)
    mask = series.mask & given
    if not mask.any():
        raise FileError(
            f"{settings.mask} leaves no pixel that the input declares valid: "
            "in a mask file zero is valid, any other value is bad."
        )
    warnings = (*series.warnings, *warn_if_scarce(settings.mask, given))
    return dataclasses.replace(series, mask=mask, warnings=warnings)


def named_files(settings: Settings | StackSettings | TrainingSettings) -> list[Path]:
    """Return the files that settings name for a run to read, which must survive it."""
    names = ("mask", "weights", "start", "flat", "dark", "energies")
    texts = [getattr(settings, name, None) for name in names]
    for text in getattr(settings, "references", ()):
        texts += [text, text.rpartition("=")[0] or None]
    return [split_path(text)[0] for text in texts if text is not None]


def frame_range(series: Series, frames: str | None) -> range:
    """Return the positions that `A:B` means in a series.

    Raises:
        FileError: The series has no such frames.
        SettingsError: The text is not a range.
    """
    wanted = parse_frames(frames)
    found = range(series.num_frames)[wanted]
    bound = max(abs(end) for end in (wanted.start or 0, wanted.stop or 0))
    if not found or bound > series.num_frames:
        raise FileError(
            f"{series.names[0]} has the frames 0:{series.num_frames}, not {frames}: "
            "ask for a part of them."
        )
    return found


def noise_model(
    text: str,
    images: Num[np.ndarray, "frame height width"],
    mask: Bool[np.ndarray, "frame height width"],
    *,
    detector: str | None = None,
    repeats: bool = False,
) -> tuple[Noise, NoiseReport | None]:
    """Return the noise model that a text names, estimating what it leaves out.

    Args:
        text: `auto`, `poisson[:GAIN]`, `gaussian[:SIGMA]` or
            `mixed:GAIN,SIGMA[,OFFSET]`, in the unit of the images.
        images: Images with that noise. Whole numbers are counts.
        mask: True where a pixel is valid.
        detector: What the file calls its detector; the gain of one that counts
            photons is one.
        repeats: Whether the images are exposures of one scene, which tell the level of
            any noise.

    Returns:
        The noise model, of any frame, and what it was recognised by; None where the
        text names a model.

    Raises:
        SettingsError: The text names no noise model.
        ValueError: The images are too small to estimate their noise from.
    """
    kind, numbers = parse_noise(text)
    if kind == "auto":
        diagnose = diagnose_repeats if repeats else diagnose_noise
        found = diagnose(images, mask, counting=counts_photons(detector))
        return _of_any_frame(found.noise), found
    models = {"poisson": Poisson, "gaussian": Gaussian, "mixed": PoissonGaussian}
    model = models[kind]
    return (model(*numbers) if numbers else model.estimate(images, mask)), None


def counts_photons(detector: str | None) -> bool | None:
    """Whether a detector is known to count photons; None where nothing is known."""
    name = (detector or "").upper()
    return True if any(word in name for word in COUNTING) else None


def _of_any_frame(noise: Noise) -> Noise:
    """The noise model of frames that have levels of their own, as of their mean."""
    if not isinstance(noise, Gaussian | Correlated) or jnp.ndim(noise.sigma) != 3:
        return noise
    sigma = jnp.sqrt(jnp.mean(noise.sigma**2, 0))
    return eqx.tree_at(lambda model: model.sigma, noise, sigma)


def describe_series(series: Series) -> str:
    """Return what a series is, in a few words."""
    rows, columns = series.shape
    name = series.names[0] if series.names else series.kind
    return f"{name} ({series.kind}, {series.num_frames} x {rows} x {columns})"


def sample_frames(series: Series, frames: range) -> list[Frame]:
    """Return a few frames spread over `frames`, none without a valid pixel.

    Raises:
        FileError: No frame looked at has a valid pixel.
    """
    places = np.linspace(frames[0], frames[-1], min(len(frames), SAMPLES)).round()
    sample = [
        next(series.frames(place, place + 1)) for place in places.astype(int).tolist()
    ]
    sample = [frame for frame in sample if frame.mask.any()]
    if not sample:
        raise FileError(
            f"{series.names[0]} has no valid pixel in the frames looked at: "
            "check the mask and the marks of invalid pixels."
        )
    return sample


def images_and_masks(
    frames: Sequence[Frame],
) -> tuple[
    Num[np.ndarray, "frame height width"], Bool[np.ndarray, "frame height width"]
]:
    """Return images and masks of frames, with zero in every invalid pixel."""
    return (
        np.stack([_image(frame) for frame in frames]),
        np.stack([frame.mask for frame in frames]),
    )


def _image(frame: Frame) -> Num[np.ndarray, "height width"]:
    """Return the data in a type that jax has; integers stay integers, being counts.

    Those beyond 32 bits become floating point, by value.
    """
    kind = {"u": np.uint32, "i": np.int32, "f": np.float32}[frame.data.dtype.kind]
    image = np.where(frame.mask, frame.data, 0)
    if image.dtype.kind in "ui" and image.dtype.itemsize > 4:
        limits = np.iinfo(kind)
        if image.min() < limits.min or image.max() > limits.max:
            kind = np.float32
    return image.astype(kind)
