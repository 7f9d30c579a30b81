"""How are the coefficient images denoised, and how much does that leave to the noise?

Each image has noise of variance one, and several denoisers: none, TV with a strength of
its own, wavelets, the network, and whatever else is given. They are mixed with the
weights of least risk. The risk is that of the whole stack: the basis follows the noise,
too, and with a basis taken as fixed the risk would promise too little error above the
true rank, and keep components of nothing but noise.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.denoisers import AbstractDenoiser, load_network, Network, TV, Wavelet
from tvjax.noise import Gaussian
from tvjax.risk.mixture_weights import least_risk_mixture
from tvjax.risk.singular import Response
from tvjax.stack.noise_draws import Draws
from tvjax.stack.refine import Refined
from tvjax.tuning.strength import choose_alpha

Denoiser = Callable[[Array], Array]

# The step of the probe of a denoiser that JAX cannot differentiate.
WIDTH = 0.1
# Of the mean variance: where no photon fell, the variance is that of few, not zero.
LEAST = 0.05
# In standard deviations: a component that may be noise does harm for nothing.
SIGNIFICANT = 4.5
# Of the same: what TV alone must make of it for the others to be asked.
PROMISING = 2.0


class Probed(NamedTuple):
    """A denoised image, and its answer to a draw n of the noise."""

    image: Float[Array, "height width"]
    slope: Float[Array, "height width"]  # Σ_j ∂f_i/∂w_j n_j


class Denoised(NamedTuple):
    """A coefficient image, denoised."""

    image: Float[np.ndarray, "height width"]
    alpha: float
    weights: Float[np.ndarray, " member"]
    cost: float  # ‖f − w‖² + 2 div, the share in the risk of the stack


def denoise_coefficients(
    image: Float[np.ndarray, "height width"],
    origin: Refined,
    *,
    leading: Float[np.ndarray, "height width"] | None,
    variance: Float[np.ndarray, "height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    draws: Draws,
    correlation: float,
    shared: Sequence[Probed],
    extra: Sequence[Denoiser],
) -> Denoised:
    """Denoise one coefficient image.

    Args:
        image: Of noise of variance one on average; zero where invalid.
        origin: Where its basis vector comes from. If it is not clear there, it is
            dropped unless its image is more than noise can have.
        leading: The first component, denoised, for all others.
        variance: Of each pixel, where it is not one throughout.
        mask: True where a pixel is valid.
        draws: Of its noise.
        correlation: How many pixels one independent pixel stands for.
        shared: What has been made of it together with other components.
        extra: Denoisers beside those of this package.
    """
    w = jnp.asarray(image)
    valid = None if mask is None else jnp.asarray(mask)
    v = jnp.ones_like(w) if variance is None else jnp.asarray(variance, w.dtype)
    # A strength that follows the variance is a trust in each pixel that follows it.
    profile = None if variance is None else profile_of(v, valid)[None]
    tuned = choose_alpha(
        w[None],
        Gaussian(1.0 if variance is None else jnp.sqrt(v)),
        mask=None if valid is None else valid[None],
        profile=profile,
        other=jnp.asarray(draws.others)[None],
        key=jax.random.key(0),  # for tuning only
    )
    alpha = tuned.denoiser.alpha
    strength = alpha if profile is None else alpha * profile[0]
    deviation = 1.0 if variance is None else jnp.sqrt(jnp.maximum(v, LEAST))
    direction = jnp.asarray(draws.probes, w.dtype)
    gain = None if leading is None else local_gain(w, leading, v, valid)
    seen = origin.gathering.mean_over(np.stack([image, np.asarray(direction)]))

    def mix(found: list[Probed], least: float) -> Denoised:
        images, slopes = (jnp.stack(part) for part in zip(*found, strict=True))
        if valid is not None:
            images = jnp.where(valid, images, 0)
        if gain is not None:
            images = jnp.concatenate([images, gain * images])
            slopes = jnp.concatenate([slopes, gain * slopes])
        parts = Parts(
            divergences=jnp.sum(slopes * direction, axis=(1, 2)),
            gathered=jnp.sum(slopes * seen[1], axis=(1, 2)),
            alike=jnp.sum(images * v * seen[0], axis=(1, 2)),
        )
        weights, cost = _mix(images, parts, w, origin.response, least, correlation)
        mixed = jnp.tensordot(weights, images, 1)
        if gain is not None:
            plain, local = jnp.split(weights, 2)
            weights = plain + jnp.mean(gain, where=valid) * local
        return Denoised(
            np.asarray(mixed), float(alpha), np.asarray(weights), float(cost)
        )

    found = [Probed(w, direction), _probe(TV(strength, mask=valid), w, direction)]
    if not (origin.clear or shared or extra):
        # most of what may be noise is, and TV tells with a fraction of the work
        glanced = mix(found, PROMISING)
        if not glanced.weights.any():
            return glanced
    members = (Wavelet(deviation, mask=valid), _network(valid), *extra)
    found += [_probe(member, w, direction) for member in members]
    found += shared
    return mix(found, 0.0 if origin.clear else SIGNIFICANT)


def local_gain(w: Array, leading: Array, variance: Array, mask: Array | None) -> Array:
    """How much of a component is signal, where there is much of the sample or little.

        g = s/(s + v),   s = x_1² (⟨w²⟩ − ⟨v⟩)₊/⟨x_1²⟩

    Wiener's gain for a signal that is as strong as the leading component x_1: what a
    state differs by from the mean of all is in proportion to how much there is of it.
    """
    excess = jnp.maximum(jnp.mean(w**2 - variance, where=mask), 0)
    thickness = jnp.asarray(leading, w.dtype) ** 2
    mean = jnp.maximum(jnp.mean(thickness, where=mask), jnp.finfo(w.dtype).tiny)
    signal = excess * thickness / mean
    return signal / (signal + jnp.maximum(variance, LEAST))


class Parts(NamedTuple):
    """What the divergence of each member is made of, see `basis_response`."""

    divergences: Float[Array, " member"]  # tr J
    gathered: Float[Array, " member"]  # tr QJ
    alike: Float[Array, " member"]  # ⟨f, Qw⟩


@jax.jit
def _mix(
    images: Array,
    parts: Parts,
    w: Array,
    response: Response,
    least: float,
    correlation: float,
) -> tuple[Array, Array]:
    """The weights of least risk, and the share in the risk that is left with them.

    Both follow from what the images have in common with the noisy one beyond their
    divergence. For noise alone this is not zero but scatters: its variance is no more
    than the power of the image and three times its divergence (twice for the random
    probe), and there is the doubt about the basis. A component of less power than
    `least` times the deviation is dropped.
    """
    divergences, gathered, alike = parts
    whole = divergences + response.push * gathered + response.pull * alike
    weights = least_risk_mixture(images, w, whole, 1.0)
    power = jnp.sum(jnp.tensordot(weights, images, 1) ** 2)
    doubt = response.doubt * (weights @ (alike + gathered))
    scatter = correlation * power + 3 * weights**2 @ jnp.abs(divergences) + doubt**2
    # each weight has followed the noise along one image, and the chance of its probe
    fitted = 2 * len(weights)
    kept = power > fitted + least * jnp.sqrt(scatter)
    weights, fitted = jnp.where(kept, weights, 0), jnp.where(kept, fitted, 0)
    mixed = jnp.tensordot(weights, images, 1)
    return weights, jnp.sum((mixed - w) ** 2) + 2 * (weights @ whole + fitted)


def _network(mask: Array | None) -> Network:
    return eqx.tree_at(
        lambda n: n.mask, _shipped_network(), mask, is_leaf=lambda m: m is None
    )


# read but once
_shipped_network = cache(load_network)


def profile_of(variance: Array, mask: Array | None) -> Array:
    """The variance over its mean; never zero."""
    mean = jnp.mean(variance, where=mask)
    return jnp.maximum(variance, LEAST * mean) / mean


def _probe(member: Denoiser, w: Array, direction: Array) -> Probed:
    """Exact for the denoisers of this package, by a finite step for other callables."""
    if isinstance(member, AbstractDenoiser):
        return _differentiate(member, w, direction)
    f = jnp.asarray(member(w), w.dtype)
    moved = jnp.asarray(member(w + WIDTH * direction), w.dtype)
    return Probed(f, (moved - f) / WIDTH)


@eqx.filter_jit
def _differentiate(member: AbstractDenoiser, w: Array, direction: Array) -> Probed:
    return Probed(*jax.jvp(member, (w,), (direction,)))
