"""What does the noise of a coefficient image look like, by other draws of it?

Strengths and divergences are found with draws of the noise. A model that says how it is
distributed is drawn from. Where there is none, the stack itself has more draws than are
needed: what it holds along any direction of the energies that no component has is noise
of unit variance, as correlated from pixel to pixel and as uneven as it is.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.risk import draw_noise


class Draws(NamedTuple):
    """Two draws of the noise of each component; zero where invalid."""

    others: Float[np.ndarray, "component y x"]  # to deal out the data with
    probes: Float[np.ndarray, "component y x"]  # to find divergences with


def empty_directions(
    vectors: Float[np.ndarray, "energy value"], num: int, key: PRNGKeyArray
) -> Float[np.ndarray, "energy num"]:
    """Random unit vectors that are orthogonal to given orthonormal ones."""
    drawn = np.asarray(jax.random.normal(key, (len(vectors), num)), float)
    drawn -= vectors @ (vectors.T @ drawn)
    return drawn / np.linalg.norm(drawn, axis=0)


def white_draws(
    shape: tuple[int, int, int],
    variances: Float[np.ndarray, "component y x"] | None,
    mask: Bool[np.ndarray, "y x"] | None,
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
