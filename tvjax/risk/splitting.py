"""How are two independent measurements made of one?

What one part of the data says can be judged by the other, which has not seen it, for
any noise that can be dealt out: counts photon by photon (`thin`), Gaussian noise by
another draw of it (`couple`).
"""

from functools import partial

import jax
from jax import Array, numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.noise import Gaussian, Poisson
from tvjax.risk.stein import Denoiser, weighted_mean

# Up to so many deviates, small arrays of all shapes share a program for each power of
# two: a binomial one takes seconds to compile.
SHARED = 2**18


def thin(
    y: Float[Array, "*shape"], noise: Poisson, *, key: PRNGKeyArray, fraction: float
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Deal counts out to two independent measurements of the same scene.

    Each photon goes to the first with probability `fraction`: the two are Poisson
    again, and independent.

    Args:
        y: Whole numbers of counts times the gain.
        noise: Poisson.
        key: Of the random split.
        fraction: Share of the exposure that goes to the first.

    Returns:
        Both, divided by their share: the same scene at a shorter exposure each, of
        variance var/fraction and var/(1 − fraction).
    """
    gain = noise.gain.astype(y.dtype)
    counts = jnp.round(y / gain)
    padded = jnp.pad(counts.ravel(), (0, _room(counts.size) - counts.size))
    dealt = _binomial(key, padded, fraction)[: counts.size].reshape(counts.shape)
    first = gain * dealt
    return first / fraction, (y - first) / (1 - fraction)


def couple(
    y: Float[Array, "*shape"], other: Float[Array, "*shape"], *, fraction: float
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The same for Gaussian noise: two independent measurements made of one.

    With ω another draw of the noise of y, of covariance C, and p = `fraction`,

        y₁ = y + √((1 − p)/p) ω,    y₂ = y − √(p/(1 − p)) ω

    have covariances C/p and C/(1 − p) and none with each other. The coupled bootstrap
    of Oliveira, Lei, Tibshirani 2021 (arXiv 2111.09447), for noise that need not be
    white; for p → 1 its risk is Stein's.

    Args:
        y: Noisy data.
        other: ω, independent of the noise in y.
        fraction: Share of the information that goes to the first.
    """
    odds = (1 - fraction) / fraction
    return y + odds**0.5 * other, y - odds**-0.5 * other


def draw_noise(
    variance: Float[Array, "*shape"], key: PRNGKeyArray
) -> Float[Array, "*shape"]:
    """White Gaussian noise of a variance in each pixel."""
    drawn = _normal(key, _room(variance.size), variance.dtype)[: variance.size]
    return jnp.sqrt(variance) * drawn.reshape(variance.shape)


@jax.jit
def _binomial(key: PRNGKeyArray, counts: Array, fraction: float) -> Array:
    return jax.random.binomial(key, counts, fraction, dtype=counts.dtype)


@partial(jax.jit, static_argnums=(1, 2))
def _normal(key: PRNGKeyArray, size: int, dtype: DTypeLike) -> Array:
    return jax.random.normal(key, (size,), dtype)


def _room(size: int) -> int:
    """How many deviates are drawn where so many are needed."""
    return size if size > SHARED else 1 << max(size - 1, 1).bit_length()


def split(
    denoiser: Denoiser,
    y: Float[Array, "*shape"],
    noise: Poisson | Gaussian,
    *,
    key: PRNGKeyArray,
    mask: Bool[Array, "*shape"] | None = None,
    weights: Float[Array, "*shape"] | None = None,
    fraction: float = 0.9,
) -> Float[Array, ""]:
    """The error at `fraction` of the exposure, judged by what is held out.

        E Σ w [(f(y₁) − y₂)² − var(y₂)] = E Σ w (f(y₁) − truth)²

    with y₁, y₂ from `thin` for counts and from `couple` for white noise. One
    evaluation of f instead of two, differentiable in its parameters, and exact at any
    count: where most pixels hold no photon, the risks by derivatives fail, because a
    whole photon is no small step. A strength that is best for y₁ is best for y when
    multiplied by √`fraction`.

    Args:
        denoiser: Any callable from an image to an image.
        y: Noisy data; for Poisson noise whole numbers of counts times the gain.
        noise: Poisson or Gaussian.
        key: Of the random split.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Of each pixel; one by default.
        fraction: Share of the information that the denoiser sees.

    Raises:
        ValueError: For another noise model; `sure` and `sugar` take them all.
    """
    if isinstance(noise, Poisson):
        seen, held_out = thin(y, noise, key=key, fraction=fraction)
        variance = noise.variance(held_out) / (1 - fraction)
    elif isinstance(noise, Gaussian):
        variance = noise.variance(y)
        other = draw_noise(jnp.broadcast_to(variance, y.shape), key)
        seen, held_out = couple(y, other, fraction=fraction)
        variance = variance / (1 - fraction)
    else:
        raise ValueError(
            "`split` is for Poisson or Gaussian noise, got "
            f"{type(noise).__name__}; use `sugar`."
        )
    return held_out_error(denoiser(seen), held_out, variance, mask, weights)


def held_out_error(
    f: Float[Array, "*shape"],
    held_out: Float[Array, "*shape"],
    variance: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    weights: Float[Array, "*shape"] | None = None,
) -> Float[Array, ""]:
    """Mean of w [(f − y₂)² − var(y₂)]: unbiased where y₂ is independent of f."""
    return weighted_mean((f - held_out) ** 2 - variance, mask, weights)
