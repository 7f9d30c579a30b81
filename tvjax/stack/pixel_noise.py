"""Variance of the noise in each pixel of the coefficient images."""

from typing import NamedTuple

import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float

from tvjax.filters import local_mean
from tvjax.noise import Gaussian, Noise
from tvjax.stack.blocks import Blocks, variances_of

# A variance that differs over the frame by less than this share of itself is taken as
# the same everywhere; and no pixel is taken to have less than this share of the mean.
EVEN = 0.1


class PixelNoise(NamedTuple):
    """What the variance of the noise follows from, pixel by pixel."""

    noise: Noise | None
    blocks: Blocks
    sigma: Float[np.ndarray, " energy"]  # what the stack was divided by
    power: Float[np.ndarray, "height width"]  # Σ_t ỹ_t² of the stack so divided
    independent: float  # share of the pixels whose noise is independent

    def variances(
        self,
        images: Float[np.ndarray, "component height width"],
        vectors: Float[np.ndarray, "energy component"],
        clear: int,
    ) -> Float[np.ndarray, "component height width"] | None:
        """The variance in each coefficient image, 1 on average; None where it is even.

        Args:
            images: Coefficient images, those that hold the signal first.
            vectors: Their vectors along the energies.
            clear: Number of images that hold signal.
        """
        signal = images[:clear]
        if self.noise is None:
            found = uneven_variance(
                signal, self.power, len(self.sigma), self.blocks.mask, self.independent
            )
            return None if found is None else np.broadcast_to(found, images.shape)
        if not follows_the_pixels(self.noise):
            return None
        return component_variances(
            self.blocks, self.noise, images, vectors, self.sigma, clear
        )


def component_variances(
    blocks: Blocks,
    noise: Noise,
    images: Float[np.ndarray, "component height width"],
    vectors: Float[np.ndarray, "energy component"],
    sigma: Float[np.ndarray, " energy"],
    clear: int,
) -> Float[np.ndarray, "component height width"]:
    """The variance of the noise in every pixel of the coefficient images.

        var w_k = Σ_t v_kt² var(x_t)/σ_t²

    with the variance that the model has at the truncated stack x, which is nearer to
    the truth than the data are, and does not go up and down with their noise.

    Args:
        blocks: The stack.
        noise: Its noise model.
        images: Coefficient images.
        vectors: Their vectors along the energies.
        sigma: What the stack was divided by at each energy.
        clear: Number of components that x is made of.
    """
    variances = np.zeros_like(images)
    spectra = (vectors[:, :clear] * sigma[:, None]).astype(blocks.dtype)
    shares = (vectors**2 / sigma[:, None] ** 2).T.astype(blocks.dtype)
    for rows in blocks.rows():
        x = spectra @ images[:clear, rows].reshape(clear, -1)
        variance = shares @ variances_of(noise, x, rows, blocks)
        variances[:, rows] = variance.reshape(len(images), -1, blocks.width)
    return variances


def uneven_variance(
    images: Float[np.ndarray, "component height width"],
    power: Float[np.ndarray, "height width"],
    num_energies: int,
    mask: Bool[np.ndarray, "height width"] | None,
    independent: float = 1.0,
) -> Float[np.ndarray, "height width"] | None:
    """The variance of the noise over the frame, mean 1; None where it is even.

    It is the power of each pixel outside the subspace of the signal, divided by the
    number of energies left and averaged over a neighborhood.

    Args:
        images: Coefficient images of the whitened stack, all that hold signal.
        power: Sum of squares over the energies in each pixel of the whitened stack.
        num_energies: Number of energies of the stack.
        mask: True where a pixel is valid.
        independent: Share of the pixels whose noise is independent.
    """
    left = num_energies - len(images)
    if left < 1:
        return None
    rest = (power - np.sum(images**2, axis=0)) / left
    valid = None if mask is None else jnp.asarray(mask)[None]
    variance = np.asarray(local_mean(jnp.asarray(rest)[None], valid)[0])
    typical = np.mean(variance, where=True if mask is None else mask)
    if not typical > 0:  # no noise at all
        return None
    variance = variance / typical
    # white noise itself scatters by this much in a square of nine pixels
    scatter = (2 / (left * 81 * independent)) ** 0.5
    if np.std(variance, where=True if mask is None else mask) < max(EVEN, 3 * scatter):
        return None
    return np.maximum(variance, EVEN)


def follows_the_pixels(noise: Noise) -> bool:
    """Whether the variance of a noise model may differ between pixels of a frame."""
    if not isinstance(noise, Gaussian):
        return True
    return noise.sigma.ndim > 0 and noise.sigma.shape[-2:] != (1, 1)
