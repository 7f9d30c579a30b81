"""Two independent measurements of a scene, made of one.

What one part of the data says can be judged by the other, which has not seen it, for
any noise that can be dealt out: counts photon by photon (`thin`), other noise by
another draw of it (`couple`). `deal` takes whichever fits.
"""

from typing import cast

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray, Real

from tvjax.arguments import is_traced
from tvjax.filters import local_mean
from tvjax.noise import Correlated, Gaussian, Noise, Poisson
from tvjax.noise.drawing import white_noise
from tvjax.risk.stein import as_judged, Denoiser, weighted_mean

# The share of the exposure that is denoised; the rest judges. A smaller one is further
# from the data themselves, a larger one leaves less to judge by.
FRACTION = 0.9


class Split(eqx.Module):
    """Two independent measurements of the same scene: to denoise and to judge by.

    Attributes:
        seen: What is denoised.
        held_out: What judges it.
        variance: Variance of the noise in `held_out`.
        mask: True where both are valid; None where all pixels are.
        fraction: Share of all the exposure that went to `seen`.
    """

    seen: Float[Array, "*shape"]
    held_out: Float[Array, "*shape"]
    variance: Float[Array, "*shape"]
    mask: Bool[Array, "*shape"] | None
    fraction: float = eqx.field(static=True)

    @property
    def valid(self) -> Bool[Array, "*shape"]:
        """True where both are valid, in every pixel."""
        return jnp.ones(self.seen.shape, bool) if self.mask is None else self.mask

    def error(
        self,
        f: Float[Array, "*shape"],
        weights: Float[Array, "*shape"] | None = None,
    ) -> Float[Array, ""]:
        """The error of an image made of `seen`, judged by `held_out`."""
        return held_out_error(f, self.held_out, self.variance, self.mask, weights)


def deal(
    y: Float[Array, "*shape"],
    noise: Noise,
    *,
    key: PRNGKeyArray,
    mask: Bool[Array, "*shape"] | None = None,
    fraction: float = FRACTION,
    other: Float[Array, "*shape"] | None = None,
    whole_counts: bool | None = None,
) -> Split:
    """Split data in two, photon by photon where they are whole counts.

    Other data are split by another draw of their noise, of the variance at the mean
    around each pixel.

    Not one program: what draws random numbers is compiled once for many shapes.

    Args:
        y: Noisy data, zero where invalid.
        noise: Noise model.
        key: Key of the random split.
        mask: True where a pixel is valid.
        fraction: Share of the exposure, or of the information, in the first part.
        other: Another draw of the noise of `y`; by default the model draws one, which
            is correlated if the model is.
        whole_counts: Whether to split photon by photon; by default the numbers are
            looked at (`are_whole_counts`).
    """
    if whole_counts is None:
        whole_counts = are_whole_counts(y, noise, mask)
    if whole_counts:
        seen, held_out = thin(y, cast(Poisson, noise), key=key, fraction=fraction)
        variance = noise.variance(held_out)
    else:
        variance = expected_variance(y, noise, mask)
        other = _another(y, noise, variance, key) if other is None else other
        seen, held_out = couple(y, other, fraction=fraction)
    return Split(seen, held_out, variance / (1 - fraction), mask, fraction)


def are_whole_counts(
    y: Float[Array, "*shape"], noise: Noise, mask: Bool[Array, "*shape"] | None
) -> bool:
    """Whether photons can be dealt out one by one."""
    if not isinstance(noise, Poisson) or not bool(jnp.all(noise.gain > 0)):
        return False
    counts = y / noise.gain.astype(y.dtype)
    whole = (counts >= 0) & (jnp.abs(counts - jnp.round(counts)) < 1e-3)
    return bool(jnp.all(whole, where=mask))


@eqx.filter_jit
def expected_variance(
    y: Float[Array, "*shape"],
    noise: Noise,
    mask: Bool[Array, "*shape"] | None = None,
) -> Float[Array, "*shape"]:
    """The variance that the noise has at the mean around each pixel.

    Args:
        y: One image or several along leading axes, zero where invalid; for noise whose
            variance does not depend on the data of any shape.
        noise: Noise model.
        mask: True where a pixel is valid.
    """
    if isinstance(noise, Gaussian | Correlated):
        return noise.variance(y)
    images = y.reshape(-1, *y.shape[-2:])
    valid = None if mask is None else mask.reshape(images.shape)
    mean = local_mean(images, valid).reshape(y.shape)
    return jnp.maximum(noise.variance(mean), 0)


def thin(
    y: Float[Array, "*shape"], noise: Poisson, *, key: PRNGKeyArray, fraction: float
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Deal counts out to two independent measurements of the same scene.

    Each photon goes to the first with probability `fraction`: the two are Poisson
    again, and independent.

    Args:
        y: Whole numbers of counts times the gain.
        noise: Poisson noise of that gain.
        key: Key of the random split.
        fraction: Share of the exposure that goes to the first.

    Returns:
        Both, divided by their share: the same scene at a shorter exposure each, of
        variance var/fraction and var/(1 − fraction).
    """
    gain = noise.gain.astype(y.dtype)
    first = gain * _binomial(key, jnp.round(y / gain), fraction)
    return first / fraction, (y - first) / (1 - fraction)


def couple(
    y: Float[Array, "*shape"], other: Float[Array, "*shape"], *, fraction: float
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Make two independent measurements of one with Gaussian noise.

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
    """White Gaussian noise of a given variance in each pixel."""
    return jnp.sqrt(variance) * white_noise(variance.shape, key, variance.dtype)


def _another(
    y: Float[Array, "*shape"],
    noise: Noise,
    variance: Float[Array, "*shape"],
    key: PRNGKeyArray,
) -> Float[Array, "*shape"]:
    """Another draw of the noise of `y`, whose variance is known."""
    if isinstance(noise, Correlated):
        return noise.draw(y, key)
    return draw_noise(variance, key)


def _binomial(
    key: PRNGKeyArray, counts: Float[Array, "*shape"], fraction: float
) -> Float[Array, "*shape"]:
    """How many of so many photons go to a share.

    By NumPy where the numbers are known, which is several times as fast as JAX, whose
    program takes seconds to compile.
    """
    if is_traced(counts) or is_traced(key):
        return jax.random.binomial(key, counts, fraction, dtype=counts.dtype)
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    known = np.asarray(counts)
    dealt = np.zeros_like(known)
    some = known > 0
    dealt[some] = random.binomial(known[some].astype(np.int64), fraction)
    return jnp.asarray(dealt)


def split(
    denoiser: Denoiser,
    y: Num[ArrayLike, "*shape"],
    noise: Poisson | Gaussian | Correlated,
    *,
    key: PRNGKeyArray,
    mask: Bool[ArrayLike, "*shape"] | None = None,
    weights: Real[ArrayLike, "*shape"] | None = None,
    fraction: float = FRACTION,
) -> Float[Array, ""]:
    """The error at `fraction` of the exposure, judged by what is held out.

        E Σ w [(f(y₁) − y₂)² − var(y₂)] = E Σ w (f(y₁) − truth)²

    with y₁, y₂ from `thin` for counts and from `couple` for other noise. One
    evaluation of f instead of two, differentiable in its parameters, and exact at any
    count: where most pixels hold no photon, the risks by derivatives fail, because a
    whole photon is no small step. A strength that is best for y₁ is best for y when
    multiplied by √`fraction`.

    Args:
        denoiser: Any callable from an image to an image.
        y: Noisy data; for Poisson noise whole numbers of counts times the gain.
        noise: Poisson, Gaussian or Correlated.
        key: Key of the random split.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Weight w of each pixel; one by default.
        fraction: Share of the information that the denoiser sees.

    Returns:
        The risk, in the unit of the data squared; it may be negative.

    Raises:
        ValueError: The noise is none of these (`sugar` takes others), the data are
            complex, or the mask has another shape or no pixel.
    """
    if not isinstance(noise, Poisson | Gaussian | Correlated):
        raise ValueError(
            "`split` is for Poisson, Gaussian or Correlated noise, got "
            f"{type(noise).__name__}; use `sugar`."
        )
    y, mask, weights = as_judged(y, mask, weights)
    # traced numbers cannot be looked at, so the model decides
    parts = deal(
        y,
        noise,
        key=key,
        mask=mask,
        fraction=fraction,
        whole_counts=isinstance(noise, Poisson),
    )
    return parts.error(denoiser(parts.seen), weights)


def held_out_error(
    f: Float[Array, "*shape"],
    held_out: Float[Array, "*shape"],
    variance: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    weights: Float[Array, "*shape"] | None = None,
) -> Float[Array, ""]:
    """Mean of w [(f − y₂)² − var(y₂)]: unbiased where y₂ is independent of f.

    Args:
        f: Denoised image.
        held_out: y₂, a measurement of the same scene that f has not seen.
        variance: Variance of the noise in y₂.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Weight w of each pixel; one by default.
    """
    return weighted_mean((f - held_out) ** 2 - variance, mask, weights)
