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

from abc import abstractmethod
from typing import Any, TypeAlias

import equinox as eqx
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from tvjax.arguments import as_floating, as_non_negative, is_traced
from tvjax.noise.moments import (
    as_images,
    BlockMoments,
    dark_gain,
    dark_line,
    Mask,
    moments_of_repeats,
    quiet_variance,
    variance_line,
)


class AbstractNoise(eqx.Module):
    """A noise model; its text shows its numbers."""

    @abstractmethod
    def variance(self, y: Num[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """The variance of each pixel, from its expected or its noisy value."""

    def __repr__(self) -> str:
        """The name and the parameters; the range of one that differs by pixel."""
        numbers = ", ".join(f"{name}={_text(v)}" for name, v in vars(self).items())
        return f"{type(self).__name__}({numbers})"


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
        """σ from the mixed second differences of the quiet blocks.

        d = (y₀₀ − y₀₁ − y₁₀ + y₁₁)/2 has the variance of the noise and none of a
        plane's. Texture only adds to it, so the level is set by the quietest tenth of
        the blocks, allowing for their being chosen; those that agree are averaged.

        Args:
            y: One image, or images with the same noise.
            mask: True where a pixel is valid.

        Raises:
            ValueError: The images have less than 2 x 2 pixels, or no valid one.
        """
        return cls(jnp.sqrt(quiet_variance(*as_images(y, mask))))

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
        return cls(jnp.sqrt(jnp.sum(jnp.where(valid, variance, 0)) / jnp.sum(valid)))


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
        """γ = Σ variance / Σ mean over the darker half of the image's blocks.

        The variance of a block comes from its mixed differences, as for `Gaussian`. A
        block with a spot or an edge has far more than its mean allows and is left out;
        the ratio of sums, unlike a mean of ratios, is right also where most pixels
        have no count at all.

        Args:
            y: One image, or images with the same noise.
            mask: True where a pixel is valid.

        Raises:
            ValueError: The images have less than 2 x 2 pixels, or no valid one.
        """
        return cls(dark_gain(*as_images(y, mask)))

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
        return cls(
            jnp.sum(jnp.where(valid, variance, 0)) / jnp.sum(jnp.where(valid, mean, 0))
        )


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
        offset: float = 0.0,
    ) -> "PoissonGaussian":
        """Fit the line of variance against mean over blocks without structure.

        One image cannot tell an offset from read-out noise: give the offset.

        Args:
            y: One image, or images with the same noise.
            mask: True where a pixel is valid.
            offset: The data's value without light.

        Raises:
            ValueError: The images have less than 2 x 2 pixels, or no valid one.
        """
        y, mask = as_images(y, mask)
        gain, floor = dark_line(y - offset, mask)
        return cls(gain, jnp.sqrt(floor), offset)

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
        freedom = jnp.full(mean.shape, jnp.shape(y)[0] - 1.0)
        pixels = BlockMoments(mean - offset, variance, freedom, valid)
        gain, floor = variance_line(pixels, valid)
        return cls(gain, jnp.sqrt(floor), offset)


Noise: TypeAlias = Gaussian | Poisson | PoissonGaussian


def describe_noise(noise: Noise) -> dict[str, Any]:
    """A noise model in types that JSON knows: its name as "model", its parameters."""
    parameters = {
        name: np.asarray(value).tolist() for name, value in vars(noise).items()
    }
    return {"model": type(noise).__name__, **parameters}


def estimate_noise(
    y: Num[ArrayLike, "*stack height width"], mask: Mask = None
) -> Noise:
    """The noise of data about which nothing is known but its type.

    Integers are counts times a gain, which is exactly one for a counting detector;
    floating point has white noise.

    Args:
        y: One image, or images with the same noise.
        mask: True where a pixel is valid.

    Raises:
        ValueError: The images have less than 2 x 2 pixels, or no valid one.
    """
    if not jnp.issubdtype(jnp.asarray(y).dtype, jnp.integer):
        return Gaussian.estimate(y, mask)
    poisson = Poisson.estimate(y, mask)
    return Poisson(1.0) if abs(float(poisson.gain) - 1) < 0.1 else poisson


def _text(value: Array) -> str:
    """A number, or the range of several."""
    if is_traced(value):
        return str(value)
    if not jnp.ndim(value):
        return f"{value:.6g}"
    least, most = jnp.min(value), jnp.max(value)
    return f"[{least:.4g} to {most:.4g}, shape {jnp.shape(value)}]"
