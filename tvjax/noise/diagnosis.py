"""Noise recognised from the data: its model, and what is unusual about it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num
from scipy import ndimage

from tvjax.arguments import as_full_mask, as_numpy
from tvjax.noise.blocks import block_statistics
from tvjax.noise.choice import choose_law, is_whole, LawName, unevenness
from tvjax.noise.correlated import Correlated
from tvjax.noise.correlation import autocovariance, kernel_of, WINDOW
from tvjax.noise.models import (
    describe_noise,
    Gaussian,
    Noise,
    noise_in_words,
    Poisson,
    PoissonGaussian,
)
from tvjax.noise.sample import Mask
from tvjax.noise.survey import NoiseSurvey, scale_ratio, survey_noise
from tvjax.noise.unevenness import level_map
from tvjax.noise.variance_fit import Law
from tvjax.readable import AbstractReadable, plain, short

# Noise is correlated if less than this share of its power is left at the very highest
# frequencies, and more than this multiple of it at the coarse ones. Texture has the
# second alone.
FINEST, COARSE = 0.83, 1.8
# Beyond this ratio of scales, and below this share at the highest frequencies, there is
# texture all over.
TEXTURE, ROUGH = 2.2, 0.945
# A gain this far from that of a counting detector deserves a second look: what is
# nearer moves the strength by a few per cent.
FAR = 0.2
# The mean around a pixel is taken over a square of this side.
AROUND = 9
# Deviations that are known to this, relative, deserve half the confidence.
HALF = 0.05
# Less blocks than these tell of no kind of noise.
FEW_BLOCKS = 24


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class NoiseReport(AbstractReadable):
    """What the noise of data is, and what is unusual about it.

    Attributes:
        noise: The model to use.
        confidence: From 0 to 1: a half where its deviation is known to 5 % by
            statistics, and half of that where structure or texture hides it.
        scale_ratio: Variance of the noise of sums over 2 x 2 pixels, over four times
            that of the pixels: 1 for white noise, more where neighbors are alike. NaN
            where the images are too small.
        autocorrelation: Correlation of the noise with that of the neighbor, the mean of
            both axes; 0 unless neighbors are found to be alike.
        pedestal: The data's value without light, in their unit; 0 if none was found.
        uneven: Largest over least deviation over the frames beyond what the signal
            explains; 1 if it is even.
        multiplicative: Whether the deviation grows in proportion to the signal.
        dispersion: Variance over that of a counting detector; NaN for data that are no
            whole numbers.
        lone: Number of pixels looked at that are far from all their neighbors, such as
            hot ones; they took no part.

    Example:
        >>> import numpy as np, tvjax
        >>> counts = np.random.default_rng(0).poisson(5.0, (128, 128))
        >>> report = tvjax.diagnose_noise(counts)
        >>> report.noise, report.warnings
        (Poisson(gain=1), ())
    """

    noise: Noise
    confidence: float
    scale_ratio: float
    autocorrelation: float
    pedestal: float
    uneven: float
    multiplicative: bool
    dispersion: float
    lone: int

    def facts(self) -> dict[str, str]:
        """Model, confidence and what is unusual, a sentence each."""
        facts = {
            "noise": noise_in_words(self.noise),
            "confidence": f"{self.confidence:.2f}",
        }
        if np.isfinite(self.scale_ratio):
            facts["scale ratio"] = (
                f"{self.scale_ratio:.3g}, the variance in sums over 2 x 2 pixels over "
                "that of white noise"
            )
        if self.autocorrelation:
            facts["correlation"] = f"{self.autocorrelation:.2f} between neighbors"
        if self.pedestal:
            facts["pedestal"] = f"{short(self.pedestal)}, the value without light"
        if self.uneven > 1:
            facts["uneven"] = f"its deviation differs by {self.uneven:.3g} over a frame"
        if np.isfinite(self.dispersion):
            facts["dispersion"] = (
                f"{self.dispersion:.3g}, the variance over that of a counting detector"
            )
        if self.lone:
            facts["lone pixels"] = f"{self.lone}, far from all neighbors, left out"
        return facts

    def asdict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        numbers = {
            name: plain(value)
            for name, value in vars(self).items()
            if name not in ("noise", "warnings")
        }
        unknown = {
            name: None
            for name, value in numbers.items()
            if isinstance(value, float) and np.isnan(value)
        }
        return {
            "noise": describe_noise(self.noise),
            **numbers,
            **unknown,
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        """The model, and how many warnings there are."""
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"<NoiseReport {self.noise}{warned}>"


def diagnose_noise(
    y: Num[ArrayLike, "*stack height width"],
    mask: Mask = None,
    *,
    counting: bool | None = None,
) -> NoiseReport:
    """Recognise the noise of data about which nothing is known.

    Whole numbers are counts, of gain one unless that cannot be; other numbers have
    white noise, unless they say otherwise. What the variance is, is read where the
    scene is flattest, at up to sixteen means and in up to 64 places of each frame:
    whether it follows the mean, or its square, or the place. Noise whose neighbors are
    alike has no power at the very highest frequencies; texture adds to others, but
    leaves these. At most a megapixel is looked at, in tiles spread over the frames.

    Args:
        y: One image, or images with the same noise.
        mask: True where a pixel is valid, in one image or in each.
        counting: True where the detector is known to count photons: its gain is one.

    Returns:
        The model and what is unusual, with a warning for each kind of noise that is not
        what the type of the data suggests.

    Raises:
        ValueError: The images have less than 2 x 2 pixels, or no valid one, or are
            complex.

    Example:
        >>> import numpy as np, tvjax
        >>> photons = np.random.default_rng(0).poisson(9.0, (257, 256)) + 0.0
        >>> blurred = photons[1:] + photons[:-1]
        >>> report = tvjax.diagnose_noise(blurred[:, 1:] + blurred[:, :-1])
        >>> type(report.noise).__name__, len(report.warnings)
        ('Correlated', 1)
    """
    survey = survey_noise(y, mask)
    floors, sample = survey.floors, survey.sample
    if len(survey.blocks.mean) == 0:
        return _without_blocks(y, mask, survey, counting=counting)
    name, law = choose_law(survey)
    ratio = scale_ratio(survey, law)
    weight = floors.error**-2
    known = np.isfinite(floors.finest)
    finest = float(np.median(floors.finest[known])) if known.any() else 1.0
    typical = float(np.median(survey.blocks.mean))
    error = 1 / (2 * np.sqrt(np.sum(weight)))
    # without enough blocks, no kind can be told from chance
    few = len(survey.blocks.mean) < FEW_BLOCKS
    warnings: list[str] = []
    dispersion = np.nan
    if is_whole(sample) and typical > 0:
        expected = sample.step * floors.mean
        lit = expected > 0
        dispersion = _median(floors.variance[lit] / expected[lit])

    uneven, correlation, pedestal = 1.0, 0.0, 0.0
    spread = None if few or name == "counts" else unevenness(survey, law)
    correlated = not few and finest < FINEST and ratio > COARSE
    if correlated:
        noise, correlation = _correlated(y, mask, survey, law, ratio)
        warnings.append(
            f"the noise of neighboring pixels is alike (correlation {correlation:.2f}),"
            " as after a blur, an interpolation or binning: it is taken for "
            "`Correlated`; exposures of one scene judge each other better (`repeats`)"
        )
    elif counting:
        noise = Poisson(1.0)
    elif spread is not None:
        levels = level_map(spread, sample.shape)
        low, high = np.quantile(np.sqrt(levels), [0.01, 0.99])
        uneven = float(high / low)
        variance = levels * _variance_map(y, mask, law)
        noise = Gaussian(np.sqrt(variance).reshape(np.shape(y)))
        warnings.append(
            f"the noise is uneven, its deviation differs by {uneven:.2g} over the "
            "frames: it has a level in each pixel; give a map of it if you have one"
        )
    else:
        noise, pedestal, said = _model(y, mask, name, law)
        warnings += said
    if not correlated and not counting and name == "counts" and np.isfinite(dispersion):
        excess = law.b / sample.step if sample.step else 1.0
        if excess > 1 + FAR:
            warnings.append(
                f"the variance is {excess:.3g} times the mean even where the image is "
                "flat: a camera's gain, or a structure of single pixels; for a "
                "counting detector give the noise as Poisson with gain 1"
            )
        elif excess < 1 - FAR:
            warnings.append(
                f"the variance is only {excess:.3g} times the mean: averaged, binned "
                "or scaled counts; sum the frames instead, or give the noise"
            )
    textured = ratio > TEXTURE and finest < ROUGH and not correlated and spread is None
    if textured and not few and not isinstance(noise, Poisson):
        warnings.append(
            "texture is all over the image: its noise may be weaker than estimated; "
            "give the noise, or repeats, if you know it"
        )
    detector = isinstance(noise, Poisson) and name == "counts"
    if few and not (detector and law.b == sample.step) and not counting:
        warnings.append(
            f"only {len(survey.blocks.mean)} blocks of pixels tell the noise, too few "
            "to recognise its kind: give the noise model if you know it"
        )
    hidden = bool(warnings) or law.misfit > 2.5 * len(floors.mean)
    confidence = (0.5 if hidden else 1.0) / (1 + (error / HALF) ** 2)
    return NoiseReport(
        noise=noise,
        confidence=float(confidence),
        scale_ratio=float(ratio),
        autocorrelation=correlation,
        pedestal=pedestal,
        uneven=uneven,
        multiplicative=name == "square" and not correlated and not counting,
        dispersion=float(dispersion),
        lone=sample.lone,
        warnings=tuple(warnings),
    )


def estimate_noise(
    y: Num[ArrayLike, "*stack height width"], mask: Mask = None
) -> Noise:
    """The noise of data about which nothing is known, as `diagnose_noise` finds it.

    Args:
        y: One image, or images with the same noise.
        mask: True where a pixel is valid.

    Raises:
        ValueError: The images have less than 2 x 2 pixels, or no valid one.
    """
    return diagnose_noise(y, mask).noise


def _model(
    y: ArrayLike, mask: Mask, name: LawName, law: Law
) -> tuple[Noise, float, list[str]]:
    """The noise model of a law, its pedestal, and what is to be said of it."""
    if name == "constant":
        return Gaussian(np.sqrt(law.a)), 0.0, []
    if name == "counts":
        return Poisson(law.b), 0.0, []
    if name == "square":
        said = (
            f"the noise grows in proportion to the signal ({np.sqrt(law.c):.3g} of "
            "it), as speckle does: it has a level in each pixel; the logarithm of the "
            "data would have the same everywhere"
        )
        return Gaussian(np.sqrt(_variance_map(y, mask, law))), 0.0, [said]
    if law.a >= 0:
        return PoissonGaussian(law.b, np.sqrt(law.a)), 0.0, []
    pedestal = float(-law.a / law.b)
    noise = PoissonGaussian(law.b, 0.0, pedestal)
    if name == "line":
        return noise, pedestal, []
    said = (
        f"the counts vary less than their mean: taken for a pedestal of {pedestal:.4g},"
        " which so flat an image cannot tell from averaged or binned counts; give the "
        "noise with its offset"
    )
    return noise, pedestal, [said]


def _correlated(
    y: ArrayLike, mask: Mask, survey: NoiseSurvey, law: Law, ratio: float
) -> tuple[Noise, float]:
    """Correlated noise, and the correlation of neighbors."""
    sample = survey.sample
    blocks = block_statistics(sample, WINDOW)
    covariance, _ = autocovariance(sample, blocks, law.variance(blocks.mean))
    if not np.isfinite(covariance).all() or covariance.max() <= 0:
        return Gaussian(np.sqrt(ratio * np.median(survey.floors.variance))), np.nan
    level, kernel = kernel_of(covariance)
    middle = len(covariance) // 2
    beside = (covariance[middle, middle + 1] + covariance[middle + 1, middle]) / 2
    correlation = float(beside / covariance[middle, middle])
    if not law.b and not law.c:
        return Correlated(level * np.sqrt(law.a), kernel), correlation
    # read-out noise is there in the dark, too: nowhere is less than in some blocks
    least = survey.floors.variance.min()
    deviation = level * np.sqrt(np.maximum(_variance_map(y, mask, law), least))
    return Correlated(deviation, kernel), correlation


def _variance_map(
    y: ArrayLike, mask: Mask, law: Law
) -> Float[np.ndarray, "*stack height width"]:
    """The variance that a law gives to the mean around each pixel."""
    values = as_numpy(y)
    valid = np.asarray(as_full_mask(mask, values.shape, values.shape[-2:]))
    axes = (values.ndim - 2, values.ndim - 1)

    def around(z: Num[np.ndarray, "*shape"] | Bool[np.ndarray, "*shape"]) -> np.ndarray:
        return ndimage.uniform_filter(
            z.astype(np.float64), AROUND, mode="nearest", axes=axes
        )

    share = around(valid)
    mean = around(np.where(valid, values, 0)) / np.where(share > 1e-9, share, 1)
    return law.variance(mean)


def _without_blocks(
    y: ArrayLike, mask: Mask, survey: NoiseSurvey, *, counting: bool | None
) -> NoiseReport:
    """What is said where no block has any noise, or is valid."""
    sample = survey.sample
    values = sample.tiles[sample.valid]
    same = values.size > 1 and np.ptp(values) == 0
    counted = counting or (is_whole(sample) and not values.any())
    whole = counting or is_whole(sample)
    if counted or (whole and not same):
        noise: Noise = Poisson(1.0 if counting else max(sample.step, 1))
    else:
        noise = Gaussian(float(values.std()) if values.size else 0.0)
    said = (
        "all valid pixels have one value: there is no noise to be seen"
        if same
        else "no block of valid pixels tells the noise: give the noise model"
    )
    return NoiseReport(
        noise=noise,
        confidence=0.0,
        scale_ratio=np.nan,
        autocorrelation=0.0,
        pedestal=0.0,
        uneven=1.0,
        multiplicative=False,
        dispersion=np.nan,
        lone=sample.lone,
        warnings=(said,),
    )


def _median(values: Float[np.ndarray, " floor"]) -> float:
    return float(np.median(values)) if values.size else np.nan
