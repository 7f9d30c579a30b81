"""Further samples of the noise of coefficient images.

Strengths and divergences are found with samples of the noise. Where there is a noise
model, they are drawn from it. Where there is none, the stack itself has more than are
needed: along any direction of the energies in which no component lies, it holds nothing
but noise of unit variance, as correlated between pixels and as uneven over the frame as
the noise is.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.noise import Correlated
from tvjax.risk.splitting import draw_noise

Samples = (
    Float[np.ndarray, "*component height width"]
    | Float[jax.Array, "*component height width"]
)


class NoiseDraws(NamedTuple):
    """Two samples of the noise of each component; zero where invalid."""

    # to split the data into what is denoised and what judges it
    splitting: Float[np.ndarray, "*component height width"]
    # to find divergences with
    probes: Float[np.ndarray, "*component height width"]

    @classmethod
    def of(
        cls, images: Float[np.ndarray, "draw height width"], num: int
    ) -> "NoiseDraws":
        """Deal samples out to `num` components; where they are too few, some twice."""
        pairs = np.arange(2 * num) % len(images)
        return cls(images[pairs[::2]], images[pairs[1::2]])


def signal_free_directions(
    vectors: Float[np.ndarray, "energy value"], num: int, key: PRNGKeyArray
) -> Float[np.ndarray, "energy {num}"]:
    """Random orthonormal vectors that are orthogonal to those of the signal."""
    drawn = np.asarray(jax.random.normal(key, (len(vectors), num)), float)
    for _ in range(2):  # once is not exact
        drawn -= vectors @ (vectors.T @ drawn)
        drawn, _ = np.linalg.qr(drawn)
    return drawn


def white_draws(
    shape: tuple[int, ...],
    variances: Float[np.ndarray, "component height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    key: PRNGKeyArray,
) -> NoiseDraws:
    """Samples of white noise of a variance in each pixel, by default one.

    The probes are random signs times the deviation: no probe of independent entries
    finds a divergence with less scatter.
    """
    for_splitting, for_probes = jax.random.split(key)
    variance = jnp.ones(shape) if variances is None else jnp.asarray(variances)
    variance = variance.astype(jnp.float32)
    if mask is not None:
        variance = jnp.where(mask, variance, 0)
    signs = jax.random.rademacher(for_probes, shape, variance.dtype)
    return NoiseDraws(
        np.asarray(draw_noise(variance, for_splitting)),
        np.asarray(signs * jnp.sqrt(variance)),
    )


def correlated_draws(
    shape: tuple[int, ...],
    variances: Float[np.ndarray, "component height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    kernel: Float[np.ndarray, "row column"],
    key: PRNGKeyArray,
) -> NoiseDraws:
    """Samples of noise that a kernel has correlated, of a variance in each pixel."""
    variance = np.ones(shape) if variances is None else variances
    deviation = np.sqrt(variance if mask is None else np.where(mask, variance, 0))
    noise, mean = Correlated(deviation, kernel), jnp.zeros(shape, jnp.float32)
    return NoiseDraws(*(np.asarray(noise.draw(mean, k)) for k in jax.random.split(key)))


def without_components(
    drawn: Float[np.ndarray, "draw height width"],
    directions: Float[np.ndarray, "energy draw"],
    images: Float[np.ndarray, "component height width"],
    vectors: Float[np.ndarray, "energy component"],
) -> Float[np.ndarray, "draw height width"]:
    """Samples of the noise with the noise of the components taken out of them.

    Vectors found from noisy data are not quite orthogonal to the directions of the
    samples; what both have in common would make the samples depend on the components.

    Args:
        drawn: The stack along the directions.
        directions: Orthonormal directions of the samples.
        images: The stack along the vectors of the components.
        vectors: Orthonormal vectors of the components.
    """
    common = vectors.T @ directions
    left = np.sqrt(1 - np.sum(common**2, axis=0))
    shares = np.tensordot((common / left).T.astype(drawn.dtype), images, 1)
    return drawn / left[:, None, None].astype(drawn.dtype) - shares
