"""What does the noise of a coefficient image look like, by other draws of it?

Strengths and divergences are found with draws of the noise. A model that says how it is
distributed is drawn from. Where there is none, the stack itself has more draws than are
needed: what it holds along any direction of the energies that no component has is noise
of unit variance, as correlated from pixel to pixel and as uneven as it is.
"""

from typing import NamedTuple, Self

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.risk.splitting import draw_noise


class Draws(NamedTuple):
    """Two draws of the noise of each component; zero where invalid."""

    others: Float[np.ndarray, "component height width"]  # to deal out the data with
    probes: Float[np.ndarray, "component height width"]  # to find divergences with

    @classmethod
    def of(cls, images: Float[np.ndarray, "draw height width"], num: int) -> Self:
        """Deal images out; where they are too few, some serve twice."""
        pairs = np.arange(2 * num) % len(images)
        return cls(images[pairs[::2]], images[pairs[1::2]])


def empty_directions(
    vectors: Float[np.ndarray, "energy value"], num: int, key: PRNGKeyArray
) -> Float[np.ndarray, "energy num"]:
    """Random orthonormal vectors that are orthogonal to given ones."""
    drawn = np.asarray(jax.random.normal(key, (len(vectors), num)), float)
    for _ in range(2):  # once is not exact
        drawn -= vectors @ (vectors.T @ drawn)
        drawn, _ = np.linalg.qr(drawn)
    return drawn


def white_draws(
    shape: tuple[int, int, int],
    variances: Float[np.ndarray, "component height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    key: PRNGKeyArray,
) -> Draws:
    """Draws of white noise of a variance in each pixel, by default one.

    The probes are random signs times the deviation: no probe of independent entries
    finds a divergence with less scatter.
    """
    of_others, of_probes = jax.random.split(key)
    variance = jnp.ones(shape) if variances is None else jnp.asarray(variances)
    variance = variance.astype(jnp.float32)
    if mask is not None:
        variance = jnp.where(mask, variance, 0)
    signs = jax.random.rademacher(of_probes, shape, variance.dtype)
    return Draws(
        np.asarray(draw_noise(variance, of_others)),
        np.asarray(signs * jnp.sqrt(variance)),
    )


def without(
    drawn: Float[np.ndarray, "draw height width"],
    directions: Float[np.ndarray, "energy draw"],
    images: Float[np.ndarray, "component height width"],
    vectors: Float[np.ndarray, "energy component"],
) -> Float[np.ndarray, "draw height width"]:
    """Draws without what the components have of them, so that both are independent.

    Args:
        drawn: The stack along the directions.
        directions: Orthonormal.
        images: The stack along the vectors.
        vectors: Orthonormal.
    """
    common = vectors.T @ directions
    left = np.sqrt(1 - np.sum(common**2, axis=0))
    shares = np.tensordot((common / left).T.astype(drawn.dtype), images, 1)
    return drawn / left[:, None, None].astype(drawn.dtype) - shares
