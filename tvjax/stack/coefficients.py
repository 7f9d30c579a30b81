"""How are the coefficient images denoised, and how much does that leave to the noise?

Each image has noise of variance one, and several denoisers: none, TV with a strength of
its own, wavelets, and whatever else is given. They are mixed with the weights of least
risk. The risk is that of the whole stack: the basis follows the noise, too, and with a
basis taken as fixed the risk would promise too little error above the true rank, and
keep components of nothing but noise.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.denoisers import AbstractDenoiser, TV, Wavelet
from tvjax.expansion import least_risk_mixture
from tvjax.noise import Gaussian
from tvjax.singular import Response
from tvjax.strength import choose_alpha

Denoiser = Callable[[Array], Array]

# The step of the probe of a denoiser that JAX cannot differentiate.
WIDTH = 0.1
# Of the mean variance: where no photon fell, the variance is that of few, not zero.
LEAST = 0.05
# In standard deviations: a component that may be noise does harm for nothing.
SIGNIFICANT = 3.5


class Denoised(NamedTuple):
    """A coefficient image, denoised."""

    image: Float[np.ndarray, "y x"]
    alpha: float
    weights: Float[np.ndarray, " member"]
    cost: float  # ‖f − w‖² + 2 div, the share in the risk of the stack


def denoise_coefficients(
    image: Float[np.ndarray, "y x"],
    response: Response,
    *,
    clear: bool,
    variance: Float[np.ndarray, "y x"] | None,
    mask: Bool[np.ndarray, "y x"] | None,
    extra: Sequence[Denoiser],
    key: PRNGKeyArray,
) -> Denoised:
    """Denoise one coefficient image.

    Args:
        image: Of noise of variance one on average; zero where invalid.
        response: Of the basis vector it belongs to.
        clear: Whether its singular value is more than noise can have. If not, it is
            dropped unless its image is more than noise can have.
        variance: Of each pixel, where it is not one throughout.
        mask: True where a pixel is valid.
        extra: Denoisers beside those of this package.
        key: Of the random probes.
    """
    w = jnp.asarray(image)
    valid = None if mask is None else jnp.asarray(mask)
    v = jnp.ones_like(w) if variance is None else jnp.asarray(variance, w.dtype)
    of_alpha, of_probe = jax.random.split(key)
    # A strength that follows the variance is a trust in each pixel that follows it.
    profile = None if variance is None else _profile(v, valid)[None]
    tuned = choose_alpha(
        w[None],
        Gaussian(1.0 if variance is None else jnp.sqrt(v)),
        mask=None if valid is None else valid[None],
        profile=profile,
        key=of_alpha,
    )
    alpha = tuned.denoiser.alpha
    strength = alpha if profile is None else alpha * profile[0]
    deviation = 1.0 if variance is None else jnp.sqrt(jnp.maximum(v, LEAST))
    members = (TV(strength, mask=valid), Wavelet(deviation, mask=valid), *extra)
    signs = jax.random.rademacher(of_probe, w.shape, w.dtype)
    direction = signs * jnp.sqrt(v)
    if valid is not None:
        direction = jnp.where(valid, direction, 0)
    pairs = [_probe(member, w, direction) for member in members]
    images = jnp.stack([w] + [f for f, _ in pairs])
    slopes = jnp.stack([direction] + [slope for _, slope in pairs])
    if valid is not None:
        images = jnp.where(valid, images, 0)
    weights, cost = _mix(
        images, slopes, w, direction, v, response, 0.0 if clear else SIGNIFICANT
    )
    mixed = jnp.tensordot(weights, images, 1)
    return Denoised(np.asarray(mixed), float(alpha), np.asarray(weights), float(cost))


@jax.jit
def _mix(
    images: Array,
    slopes: Array,
    w: Array,
    direction: Array,
    variance: Array,
    response: Response,
    least: float,
) -> tuple[Array, Array]:
    """The weights of least risk, and the share in the risk that is left with them.

    Both follow from what the images have in common with the noisy one beyond their
    divergence. For noise alone this is not zero but scatters: its variance is no more
    than the power of the image and three times its divergence (twice for the random
    probe), and there is the doubt about the basis. A component of less power than
    `least` times the deviation is dropped.
    """
    divergences = jnp.sum(direction * slopes, axis=(1, 2))
    alike = jnp.sum(images * variance * w, axis=(1, 2))
    whole = (1 + response.push) * divergences + response.pull * alike
    weights = least_risk_mixture(images, w, whole, 1.0)
    power = jnp.sum(jnp.tensordot(weights, images, 1) ** 2)
    doubt = response.doubt * (weights @ (alike + divergences))
    scatter = power + 3 * weights**2 @ jnp.abs(divergences) + doubt**2
    weights = jnp.where(power > least * jnp.sqrt(scatter), weights, 0)
    mixed = jnp.tensordot(weights, images, 1)
    return weights, jnp.sum((mixed - w) ** 2) + 2 * weights @ whole


def _profile(variance: Array, mask: Array | None) -> Array:
    """The variance over its mean; never zero."""
    mean = jnp.mean(variance, where=mask)
    return jnp.maximum(variance, LEAST * mean) / mean


def _probe(member: Denoiser, w: Array, direction: Array) -> tuple[Array, Array]:
    """The denoised image, and its derivative along a direction.

    Exact for the denoisers of this package, by a finite step for any other callable.
    """
    if isinstance(member, AbstractDenoiser):
        return _differentiate(member, w, direction)
    f = jnp.asarray(member(w), w.dtype)
    moved = jnp.asarray(member(w + WIDTH * direction), w.dtype)
    return f, (moved - f) / WIDTH


@eqx.filter_jit
def _differentiate(
    member: AbstractDenoiser, w: Array, direction: Array
) -> tuple[Array, Array]:
    return jax.jvp(member, (w,), (direction,))
