"""Noise models, and how they are estimated from the data.

A noise model says how the variance of a pixel follows from its expected value, in the
data's own unit, and estimates its parameters from the data:

    Gaussian            var = σ²
    Poisson             var = γ λ                 counts times a gain γ
    PoissonGaussian     var = γ (λ − offset) + σ²

The models are interchangeable: `variance(y)` at the *noisy* data is an unbiased
estimate of the variance (it may be negative where the read-out noise pulls a pixel
below the offset), at a denoised image it is the variance itself.
"""

from typing import Any, TypeAlias

import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from tvjax.arguments import as_floating, as_non_negative
from tvjax.noise.correlated import Correlated
from tvjax.noise.moments import moments_of_repeats, variance_line
from tvjax.noise.protocol import AbstractNoise
from tvjax.noise.sample import Mask
from tvjax.noise.survey import survey_noise
from tvjax.noise.variance_fit import constant, counts, line
from tvjax.readable import short

# More numbers than this are told by their range.
LONGEST = 256


class Gaussian(AbstractNoise):
    """White noise of standard deviation σ.

        var = σ²

    Args:
        sigma: Standard deviation σ ≥ 0 in the unit of the data, a scalar or one for
            each pixel.

    Raises:
        ValueError: A sigma is negative or NaN.

    Example:
        >>> import numpy as np, tvjax
        >>> tvjax.Gaussian(2.0)
        Gaussian(sigma=2)
        >>> image = np.random.default_rng(0).normal(100, 2.0, (256, 256))
        >>> sigma = tvjax.Gaussian.estimate(image).sigma
        >>> abs(float(sigma) - 2) < 0.1
        True
    """

    sigma: Array

    def __init__(self, sigma: ArrayLike) -> None:
        self.sigma = as_non_negative("sigma", sigma)

    def variance(self, y: Num[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """σ² in every pixel."""
        y = as_floating(y)
        return jnp.broadcast_to(self.sigma.astype(y.dtype) ** 2, y.shape)

    @classmethod
    def estimate(
        cls,
        y: Num[ArrayLike, "*stack height width"],
        mask: Mask = None,
    ) -> "Gaussian":
        """σ below the structure of the scene.

        Blocks are sorted by their mean, and in each of up to sixteen groups by how
        steep they are; the variance is that of their second differences along both
        axes, (y ∗ [1 −2 1] ∗ [1 −2 1]ᵀ)²/36, where the flattest blocks agree on it.
        Structure only adds to it: groups above what others agree on are structure.

        Args:
            y: One image, or images with the same noise.
            mask: True where a pixel is valid.

        Raises:
            ValueError: The images have less than 2 x 2 pixels, or no valid one.
        """
        return cls(np.sqrt(constant(survey_noise(y, mask).floors).a))

    @classmethod
    def from_repeats(
        cls,
        y: Num[ArrayLike, "repeat height width"],
        mask: Mask = None,
    ) -> "Gaussian":
        """σ from repeated exposures of one scene, by the mean variance.

        Args:
            y: Exposures of one scene.
            mask: True where a pixel is valid; it counts where all exposures are.

        Raises:
            ValueError: There is but one exposure, or no valid pixel.
        """
        _, variance, valid = moments_of_repeats(y, mask)
        return cls(np.sqrt(variance[valid].mean()))


class Poisson(AbstractNoise):
    """Photon counts times a gain γ.

        var = γ λ

    Args:
        gain: Gain γ ≥ 0, in data units per photon, a scalar or one for each pixel; 1
            for a counting detector.

    Raises:
        ValueError: A gain is negative or NaN.

    Example:
        >>> import numpy as np, tvjax
        >>> tvjax.Poisson()
        Poisson(gain=1)
        >>> photons = np.random.default_rng(0).poisson(3.0, (256, 256))
        >>> gain = tvjax.Poisson.estimate(4 * photons).gain
        >>> abs(float(gain) - 4) < 0.2
        True
    """

    gain: Array

    def __init__(self, gain: ArrayLike = 1.0) -> None:
        self.gain = as_non_negative("gain", gain)

    def variance(self, y: Num[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """γ y."""
        y = as_floating(y)
        return self.gain.astype(y.dtype) * y

    @classmethod
    def estimate(
        cls,
        y: Num[ArrayLike, "*stack height width"],
        mask: Mask = None,
    ) -> "Poisson":
        """γ = variance / mean, where the flattest blocks of each mean agree on it.

        The variance of a block is that of its second differences, as for `Gaussian`.
        Where counts are sparse the blocks are larger, to hold some photons each.

        Args:
            y: One image, or images with the same noise.
            mask: True where a pixel is valid.

        Raises:
            ValueError: The images have less than 2 x 2 pixels, or no valid one.
        """
        floors = survey_noise(y, mask).floors
        # no count at all tells nothing: that of a counting detector
        return cls(counts(floors).b if np.any(floors.mean > 0) else 1.0)

    @classmethod
    def from_repeats(
        cls,
        y: Num[ArrayLike, "repeat height width"],
        mask: Mask = None,
    ) -> "Poisson":
        """γ = Σ variance / Σ mean over the pixels of repeated exposures.

        Args:
            y: Exposures of one scene.
            mask: True where a pixel is valid; it counts where all exposures are.

        Raises:
            ValueError: There is but one exposure, or no valid pixel.
        """
        mean, variance, valid = moments_of_repeats(y, mask)
        total = mean[valid].sum()
        # no count at all tells nothing: that of a counting detector
        return cls(variance[valid].sum() / total if total > 0 else 1.0)


class PoissonGaussian(AbstractNoise):
    """Counts times a gain γ on an offset, plus read-out noise of deviation σ.

        var = γ (λ − offset) + σ²

    Args:
        gain: Gain γ ≥ 0, in data units per photon.
        sigma: Standard deviation σ ≥ 0 of the read-out noise, in the unit of the data.
        offset: The data's value without light.

    Raises:
        ValueError: A gain or sigma is negative or NaN.

    Example:
        >>> import jax.numpy as jnp, tvjax
        >>> noise = tvjax.PoissonGaussian(gain=2.0, sigma=3.0, offset=100.0)
        >>> float(noise.variance(jnp.asarray(110.0)))
        29.0
    """

    gain: Array
    sigma: Array
    offset: Array

    def __init__(
        self, gain: ArrayLike, sigma: ArrayLike, offset: ArrayLike = 0.0
    ) -> None:
        self.gain = as_non_negative("gain", gain)
        self.sigma = as_non_negative("sigma", sigma)
        self.offset = jnp.asarray(offset, dtype=float)

    def variance(self, y: Num[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """γ (y − offset) + σ²."""
        y = as_floating(y)
        gain, sigma, offset = (
            p.astype(y.dtype) for p in (self.gain, self.sigma, self.offset)
        )
        return gain * (y - offset) + sigma**2

    @classmethod
    def estimate(
        cls,
        y: Num[ArrayLike, "*stack height width"],
        mask: Mask = None,
        *,
        offset: float | None = None,
    ) -> "PoissonGaussian":
        """Fit the line of variance against mean below the structure of the scene.

        A line that meets zero at a positive mean does so at the offset, if there were
        no read-out noise: one image cannot tell the two apart, but has this variance
        whichever it is. With a given offset the rest is read-out noise.

        Args:
            y: One image, or images with the same noise.
            mask: True where a pixel is valid.
            offset: The data's value without light; by default found.

        Raises:
            ValueError: The images have less than 2 x 2 pixels, or no valid one.
        """
        law = line(survey_noise(y, mask).floors)
        if offset is None:
            offset = -law.a / law.b if law.a < 0 < law.b else 0.0
        return cls(law.b, np.sqrt(max(law.a + law.b * offset, 0)), offset)

    @classmethod
    def from_repeats(
        cls,
        y: Num[ArrayLike, "repeat height width"],
        mask: Mask = None,
        *,
        offset: float = 0.0,
    ) -> "PoissonGaussian":
        """Fit the line of variance against mean over repeated exposures.

        Args:
            y: Exposures of one scene.
            mask: True where a pixel is valid; it counts where all exposures are.
            offset: The data's value without light.

        Raises:
            ValueError: There is but one exposure, or no valid pixel.
        """
        mean, variance, valid = moments_of_repeats(y, mask)
        gain, floor = variance_line(mean[valid] - offset, variance[valid])
        return cls(gain, np.sqrt(floor), offset)


Noise: TypeAlias = Gaussian | Poisson | PoissonGaussian | Correlated


def describe_noise(noise: Noise) -> dict[str, Any]:
    """A noise model in types that JSON knows: its name as "model", its parameters.

    Of one that differs by pixel, its least, median and greatest value and its shape.
    """
    parameters = {name: _told(np.asarray(z)) for name, z in vars(noise).items()}
    return {"model": type(noise).__name__, **parameters}


def noise_in_words(noise: Noise) -> str:
    """The model's name and its numbers, as a report says them."""
    numbers = (f"{name} {short(value)}" for name, value in vars(noise).items())
    return ", ".join([type(noise).__name__, *numbers])


def _told(value: np.ndarray) -> Any:
    """A number, a short list of them, or what is to be said of a map."""
    if value.size <= LONGEST:
        return value.tolist()
    least, median, most = np.quantile(value, [0, 0.5, 1]).tolist()
    return {
        "least": least,
        "median": median,
        "most": most,
        "shape": list(value.shape),
    }
