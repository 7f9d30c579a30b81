"""Denoising of the coefficient images, each by a mixture of denoisers.

Each image has noise of variance one. It is mixed of several images: itself as it is,
and what TV with a strength of its own, wavelets, the network, and any other denoiser
given make of it. The coefficients a_j of the mixture are those of least risk. The risk
is that of the whole stack, in which the basis depends on the noise as well: with a
basis taken as fixed, the risk would promise too little error above the true rank, and
keep components of nothing but noise.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.denoisers import (
    AbstractDenoiser,
    AbstractMaskedDenoiser,
    load_network,
    TV,
    Wavelet,
)
from tvjax.noise import Gaussian
from tvjax.risk.mixture_coefficients import least_risk_coefficients
from tvjax.risk.singular import Response
from tvjax.stack.noise_draws import NoiseDraws
from tvjax.stack.refine import Refined
from tvjax.tuning.strength import choose_alpha

Denoiser = Callable[[Array], Array]

# Step along the noise by which a denoiser is differentiated that JAX cannot trace, in
# standard deviations of the noise: small beside the noise, and large beside rounding.
WIDTH = 0.1
# No pixel is taken to have less than this share of the mean variance: where no photon
# fell, the variance is not zero, but that of few photons.
LEAST = 0.05
# A component that may be noise is kept if its image has more power than noise by this
# many standard deviations: it does harm if it is noise after all.
SIGNIFICANT = 4.5
# The other denoisers are tried on such a component only if TV alone leaves more power
# than noise by this many standard deviations.
PROMISING = 2.0


class Probed(NamedTuple):
    """A denoised image f(w), and its derivative along a sample n of the noise."""

    image: Float[Array, "height width"]
    derivative: Float[Array, "height width"]  # Σ_j ∂f_i/∂w_j n_j


class Denoised(NamedTuple):
    """A coefficient image, denoised."""

    image: Float[np.ndarray, "height width"]
    alpha: float
    coefficients: Float[np.ndarray, " member"]  # of the mixture
    cost: float  # ‖f − w‖² + 2 div, its part of the risk of the stack


def denoise_coefficients(
    image: Float[np.ndarray, "height width"],
    origin: Refined,
    *,
    leading: Float[np.ndarray, "height width"] | None,
    variance: Float[np.ndarray, "height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    draws: NoiseDraws,
    correlation: float,
    shared: Sequence[Probed],
    extra: Sequence[Denoiser],
) -> Denoised:
    """Denoise one coefficient image.

    Args:
        image: The noisy image, with noise of variance one on average; zero where
            invalid.
        origin: How its basis vector was found. A component that is not clear there is
            dropped unless its image is more than noise can have.
        leading: The first component, denoised; None for the first itself.
        variance: Variance of the noise in each pixel, where it is not one throughout.
        mask: True where a pixel is valid.
        draws: Samples of its noise.
        correlation: How many pixels one independent pixel stands for.
        shared: What was made of it together with other components.
        extra: Denoisers besides those of this package.
    """
    w = jnp.asarray(image)
    valid = None if mask is None else jnp.asarray(mask)
    v = jnp.ones_like(w) if variance is None else jnp.asarray(variance, w.dtype)
    # where the variance is greater, a pixel is trusted less and smoothed more
    profile = None if variance is None else relative_variance(v, valid)[None]
    tuned = choose_alpha(
        w[None],
        Gaussian(1.0 if variance is None else jnp.sqrt(v)),
        mask=None if valid is None else valid[None],
        profile=profile,
        other=jnp.asarray(draws.splitting)[None],
        key=jax.random.key(0),  # of the tuning only
    )
    alpha = tuned.denoiser.alpha
    strength = alpha if profile is None else alpha * profile[0]
    deviation = 1.0 if variance is None else jnp.sqrt(jnp.maximum(v, LEAST))
    direction = jnp.asarray(draws.probes, w.dtype)
    gain = None
    if leading is not None:
        gain = local_gain(w, jnp.asarray(leading, w.dtype), v, valid)
    binned = origin.binning.bin_and_spread(np.stack([image, np.asarray(direction)]))

    def mix(found: list[Probed], least: float) -> Denoised:
        images, derivatives = (jnp.stack(part) for part in zip(*found, strict=True))
        if valid is not None:
            images = jnp.where(valid, images, 0)
        if gain is not None:
            images = jnp.concatenate([images, gain * images])
            derivatives = jnp.concatenate([derivatives, gain * derivatives])
        parts = _Divergence(
            fixed=jnp.sum(derivatives * direction, axis=(1, 2)),
            binned=jnp.sum(derivatives * binned[1], axis=(1, 2)),
            overlap=jnp.sum(images * v * binned[0], axis=(1, 2)),
        )
        coefficients, cost = _mix(images, parts, w, origin.response, least, correlation)
        mixed = jnp.tensordot(coefficients, images, 1)
        if gain is not None:
            plain, local = jnp.split(coefficients, 2)
            coefficients = plain + jnp.mean(gain, where=valid) * local
        return Denoised(
            np.asarray(mixed), float(alpha), np.asarray(coefficients), float(cost)
        )

    found = [Probed(w, direction), _probe(TV(strength, mask=valid), w, direction)]
    if not (origin.clear or shared or extra):
        # most of what may be noise is noise, and TV shows it with little work
        by_tv = mix(found, PROMISING)
        if not by_tv.coefficients.any():
            return by_tv
    network = _shipped_network().with_mask(valid)
    members = (Wavelet(deviation, mask=valid), network, *extra)
    found += [_probe(member, w, direction) for member in members]
    found += shared
    return mix(found, 0.0 if origin.clear else SIGNIFICANT)


def local_gain(
    w: Float[Array, "height width"],
    leading: Float[Array, "height width"],
    variance: Float[Array, "height width"],
    mask: Bool[Array, "height width"] | None,
) -> Float[Array, "height width"]:
    """How much of a component is signal, where there is much of the sample or little.

        g = s/(s + v),   s = x_1² (⟨w²⟩ − ⟨v⟩)₊/⟨x_1²⟩

    It is Wiener's gain for a signal that is as strong as the leading component x_1: the
    amount by which a chemical state differs from the mean of all is in proportion to
    the amount of the sample.
    """
    excess = jnp.maximum(jnp.mean(w**2 - variance, where=mask), 0)
    thickness = leading**2
    mean = jnp.maximum(jnp.mean(thickness, where=mask), jnp.finfo(w.dtype).tiny)
    signal = excess * thickness / mean
    return signal / (signal + jnp.maximum(variance, LEAST))


class _Divergence(NamedTuple):
    """What the divergence of each member is made of, see `basis_response`."""

    fixed: Float[Array, " member"]  # tr J, with the basis taken as fixed
    binned: Float[Array, " member"]  # tr QJ
    overlap: Float[Array, " member"]  # ⟨f, Qw⟩


@jax.jit
def _mix(
    images: Float[Array, "member height width"],
    parts: _Divergence,
    w: Float[Array, "height width"],
    response: Response,
    least: float | Array,
    correlation: float | Array,
) -> tuple[Float[Array, " member"], Float[Array, ""]]:
    """The coefficients of least risk, and the part of the risk that is left with them.

    Both follow from what the images have in common with the noisy one beyond their
    divergence. For noise alone this is not zero but scatters: its variance is no more
    than the power of the image and three times its divergence (twice for the random
    probe), and there is the doubt about the basis. A component of less power than
    `least` times the deviation is dropped.
    """
    fixed, binned, overlap = parts
    whole = fixed + response.push * binned + response.pull * overlap
    coefficients = least_risk_coefficients(images, w, whole, 1.0, similar=True)
    power = jnp.sum(jnp.tensordot(coefficients, images, 1) ** 2)
    doubt = response.doubt * (coefficients @ (overlap + binned))
    scatter = correlation * power + 3 * coefficients**2 @ jnp.abs(fixed) + doubt**2
    # each coefficient was fitted to the noise along one image, and along its probe
    fitted = 2 * len(coefficients)
    kept = power > fitted + least * jnp.sqrt(scatter)
    coefficients = jnp.where(kept, coefficients, 0)
    fitted = jnp.where(kept, fitted, 0)
    mixed = jnp.tensordot(coefficients, images, 1)
    return coefficients, jnp.sum((mixed - w) ** 2) + 2 * (coefficients @ whole + fitted)


# read from its file but once
_shipped_network = cache(load_network)


def relative_variance(
    variance: Float[Array, "height width"], mask: Bool[Array, "height width"] | None
) -> Float[Array, "height width"]:
    """The variance divided by its mean; never zero."""
    mean = jnp.mean(variance, where=mask)
    return jnp.maximum(variance, LEAST * mean) / mean


def _probe(
    member: Denoiser,
    w: Float[Array, "height width"],
    direction: Float[Array, "height width"],
) -> Probed:
    """The denoised image and its derivative along a direction.

    It is exact for the denoisers of this package, by a finite step for other callables.
    """
    if isinstance(member, AbstractDenoiser):
        mask = None
        if isinstance(member, AbstractMaskedDenoiser):
            # as an argument of the program, which then serves other masks, too
            mask, member = member.mask, member.with_mask(None)
        return _differentiate(member, mask, w, direction)
    f = jnp.asarray(member(w), w.dtype)
    moved = jnp.asarray(member(w + WIDTH * direction), w.dtype)
    return Probed(f, (moved - f) / WIDTH)


@eqx.filter_jit
def _differentiate(
    member: AbstractDenoiser,
    mask: Bool[Array, "height width"] | None,
    w: Float[Array, "height width"],
    direction: Float[Array, "height width"],
) -> Probed:
    if isinstance(member, AbstractMaskedDenoiser):
        member = member.with_mask(mask)
    return Probed(*jax.jvp(member, (w,), (direction,)))
