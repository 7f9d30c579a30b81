"""Stationary noise whose neighboring pixels are alike."""

import numpy as np
from jax import Array, numpy as jnp
from jax.scipy.signal import convolve2d
from jax.typing import ArrayLike
from jaxtyping import Float, Num, PRNGKeyArray

from tvjax.arguments import as_floating, as_non_negative
from tvjax.noise.blocks import block_statistics
from tvjax.noise.correlation import autocovariance, kernel_of, WINDOW
from tvjax.noise.drawing import white_noise
from tvjax.noise.protocol import AbstractNoise
from tvjax.noise.sample import Mask, take_sample


class Correlated(AbstractNoise):
    """Gaussian noise that a blur, an interpolation or a binned camera has correlated.

        noise = σ · (k ∗ w),   w white of variance one, ‖k‖ = 1

    so that var = σ², and the covariance of two pixels is σ² times the autocorrelation
    of the kernel k at their distance.

    Args:
        sigma: Standard deviation σ ≥ 0 in the unit of the data, a scalar or one for
            each pixel.
        kernel: The kernel k, odd along both sides; its norm is made one.

    Raises:
        ValueError: A sigma is negative or NaN, or the kernel is even-sided, not finite
            or zero.

    Example:
        >>> import jax, numpy as np, tvjax
        >>> noise = tvjax.Correlated(2.0, np.ones((3, 3)))
        >>> noise
        Correlated(sigma=2, kernel=[0.3333 to 0.3333, shape (3, 3)])
        >>> drawn = noise.draw(np.zeros((256, 256)), jax.random.key(0))
        >>> bool(abs(drawn.std() - 2) < 0.1)
        True
    """

    sigma: Array
    kernel: Array

    def __init__(self, sigma: ArrayLike, kernel: ArrayLike) -> None:
        self.sigma = as_non_negative("sigma", sigma)
        taps = np.asarray(kernel, dtype=float)
        if taps.ndim != 2 or not all(side % 2 for side in taps.shape):
            raise ValueError(
                "`kernel` must have an odd number of rows and columns, got shape "
                f"{taps.shape}; pad it with zeros."
            )
        norm = np.sqrt((taps**2).sum())
        if not 0 < norm < np.inf:
            raise ValueError("`kernel` must be finite and not zero everywhere.")
        self.kernel = jnp.asarray(taps / norm)

    def variance(self, y: Num[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """σ² in every pixel."""
        y = as_floating(y)
        return jnp.broadcast_to(self.sigma.astype(y.dtype) ** 2, y.shape)

    def draw(
        self, mean: Num[ArrayLike, "*shape"], key: PRNGKeyArray
    ) -> Float[Array, "*shape"]:
        """Another draw of the noise alone, of the same covariance.

        Args:
            mean: The expected image, or images along leading axes; only their shape
                counts.
            key: Key of the draw.
        """
        mean = as_floating(mean)
        rows, columns = self.kernel.shape
        *stack, height, width = mean.shape
        count = int(np.prod(stack, dtype=int))
        # beyond the edge, too, so that pixels at it have the same variance
        wide = (count, height + rows - 1, width + columns - 1)
        white = white_noise(wide, key, mean.dtype)
        kernel = self.kernel.astype(mean.dtype)
        drawn = jnp.stack([convolve2d(image, kernel, mode="valid") for image in white])
        return self.sigma.astype(mean.dtype) * drawn.reshape(mean.shape)

    @classmethod
    def estimate(
        cls, y: Num[ArrayLike, "*stack height width"], mask: Mask = None
    ) -> "Correlated":
        """σ and the kernel, from the autocovariance of windows without structure.

        A plane is taken out of each window, and its share of the covariance put back.

        Args:
            y: One image, or images with the same noise.
            mask: True where a pixel is valid.

        Raises:
            ValueError: No window of 16 x 16 pixels is valid, or has any noise.
        """
        sample = take_sample(y, mask)
        blocks = block_statistics(sample, WINDOW)
        covariance, _ = autocovariance(sample, blocks, np.ones_like(blocks.mean))
        if not np.isfinite(covariance).all():
            raise ValueError(
                "correlated noise is estimated from windows of 16 x 16 valid pixels, "
                "and there is none with any noise; give its sigma and kernel instead."
            )
        return cls(*kernel_of(covariance))
