"""Unbiased estimates of the error by derivatives, when nobody knows the truth.

For a denoiser f, data y = truth + noise of variance v, and weights w (one by default),
all means over the N valid pixels:

    E Σ w (f − truth)²  =  E Σ w [(f − y)² − v + 2 v ∂f/∂y]          (Stein 1981)

and with Σ_j C_ij ∂f_i/∂y_j in place of v ∂f/∂y where the noise has the covariance C.

`sure` takes the derivative exactly, along one random direction: unbiased for any f, but
its own slope in a parameter would miss the jumps of ∂f/∂y, where regions merge, and be
wrong in sign as often as not. `sugar` takes a finite step along the direction, and has
the right slope; `jax.grad` of `sure` gives that one. `pure` takes unit steps of single
photons, and is right at counts below one, too. `split` judges by a share of the data
that the denoiser does not see; it costs half as much, and has a gradient as well.

Each is in the unit of the data squared, weights apart. Any may be negative: they are
unbiased, not bounded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray, Real

from tvjax.arguments import as_floating, as_mask
from tvjax.noise import Correlated, Noise, Poisson

# Length of a finite probe's step, in standard deviations of the noise. Shorter ones do
# not blur the jumps of ∂f/∂y, longer ones are biased.
WIDTH = 0.15

Denoiser: TypeAlias = Callable[[Array], Array]
Risk: TypeAlias = Callable[..., Float[Array, ""]]


def sure(
    denoiser: Denoiser,
    y: Num[ArrayLike, "*shape"],
    noise: Noise,
    *,
    key: PRNGKeyArray,
    mask: Bool[ArrayLike, "*shape"] | None = None,
    weights: Real[ArrayLike, "*shape"] | None = None,
) -> Float[Array, ""]:
    """Stein's unbiased risk estimate by one exact directional derivative.

        Σ w [(f(y) − y)² − v + 2 b √v · J(b √v)] / N,   b of random signs, J = ∂f/∂y

    Ramani, Blu, Unser 2008 (10.1109/TIP.2008.2001404). For Poisson counts this is PURE
    to first order. Its own slope in a parameter of the denoiser would miss the jumps of
    the derivative; `jax.grad` of it is that of `sugar` along the same direction.

    Args:
        denoiser: Any differentiable callable from an image to an image.
        y: Noisy data of any shape.
        noise: A noise model, or any object with `variance(y)`.
        key: Key of the random direction.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Weight w of each pixel; one by default.

    Returns:
        The risk, in the unit of the data squared; it may be negative.

    Raises:
        ValueError: The data are complex, or the mask has another shape or no pixel.

    Example:
        >>> import jax, tvjax
        >>> key = jax.random.key(0)
        >>> y = jax.random.normal(key, (64, 64))
        >>> risk = tvjax.sure(lambda y: 0 * y, y, tvjax.Gaussian(1.0), key=key)
        >>> abs(float(risk)) < 0.1  # the truth is zero
        True
    """
    y, mask, weights = as_judged(y, mask, weights)
    # what the denoiser closes over is an argument, too, to differentiate in
    closed = eqx.filter_closure_convert(denoiser, y)
    return _stein(closed, y, probe_of(noise, y, key), mask, weights)


@eqx.filter_custom_jvp
def _stein(
    denoiser: Denoiser,
    y: Float[Array, "*shape"],
    probe: "Probe",
    mask: Bool[Array, "*shape"] | None,
    weights: Float[Array, "*shape"] | None,
) -> Float[Array, ""]:
    """The risk by an exact derivative."""
    f, derivative = jax.jvp(denoiser, (y,), (only_valid(mask, probe.direction),))
    return probe.risk(f - y, derivative, mask, weights)


@_stein.def_jvp
def _stein_jvp(
    primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The slope is that of the risk by a finite step."""
    _, slope = eqx.filter_jvp(partial(_finite_risk, width=WIDTH), primals, tangents)
    return _stein(*primals), slope


def sugar(
    denoiser: Denoiser,
    y: Num[ArrayLike, "*shape"],
    noise: Noise,
    *,
    key: PRNGKeyArray,
    mask: Bool[ArrayLike, "*shape"] | None = None,
    weights: Real[ArrayLike, "*shape"] | None = None,
    width: float = WIDTH,
) -> Float[Array, ""]:
    """Stein's risk with a finite probe: the one whose gradient in a parameter is right.

        Σ w [(f(y) − y)² − v + 2 b √v · (f(y + ε b √v) − f(y))/ε] / N

    with b of random signs and ε = `width`: smooth in the parameters of f. Wider is
    smoother but biased. Deledalle, Vaiter, Fadili, Peyré 2014 (10.1137/140968045).

    Args:
        denoiser: Any callable, differentiable in its parameters.
        y: Noisy data of any shape.
        noise: A noise model, or any object with `variance(y)`.
        key: Key of the random direction; the same key gives the same smooth function.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Weight w of each pixel; one by default.
        width: Length of the step, in standard deviations of the noise.

    Returns:
        The risk, in the unit of the data squared; it may be negative.

    Raises:
        ValueError: The data are complex, or the mask has another shape or no pixel.

    Example:
        >>> import jax, tvjax
        >>> key = jax.random.key(0)
        >>> y = 5 + jax.random.normal(key, (16, 16))
        >>> def risk(alpha):
        ...     return tvjax.sugar(tvjax.TV(alpha), y, tvjax.Gaussian(1.0), key=key)
        >>> bool(jax.grad(risk)(0.1) < 0)  # a greater strength is better
        True
    """
    y, mask, weights = as_judged(y, mask, weights)
    probe = probe_of(noise, y, key)
    return _finite_risk(denoiser, y, probe, mask, weights, width=width)


def _finite_risk(
    denoiser: Denoiser,
    y: Float[Array, "*shape"],
    probe: "Probe",
    mask: Bool[Array, "*shape"] | None,
    weights: Float[Array, "*shape"] | None,
    *,
    width: float,
) -> Float[Array, ""]:
    """The risk by a finite step."""
    stepped = y + width * only_valid(mask, probe.direction)
    f, moved = jax.vmap(denoiser)(jnp.stack([y, stepped]))
    return probe.risk(f - y, (moved - f) / width, mask, weights)


def pure(
    denoiser: Denoiser,
    y: Num[ArrayLike, "*shape"],
    noise: Poisson,
    *,
    key: PRNGKeyArray,
    mask: Bool[ArrayLike, "*shape"] | None = None,
    weights: Real[ArrayLike, "*shape"] | None = None,
    density: float = 1 / 8,
) -> Float[Array, ""]:
    """The Poisson unbiased risk estimate, with whole photons taken away.

        E Σ (f − truth)² = E Σ [f² − 2 y_i f_i(y − γ e_i) + y² − γ y]

    Photons are taken from a random share d of all pixels at once, b_i = 1 where one is,
    and what belongs to pixel i alone is the covariance with b_i:

        f_i(y) − f_i(y − γ e_i)  ≈  (b_i − d)/(d (1 − d)) · [f_i(y) − f_i(y − γ b)]

    The influence of the other pixels has mean zero, whatever its size, as long as the
    photons' influences add up; it is exact where each pixel is denoised by itself.
    Luisier, Vonesch, Blu, Unser 2010 (10.1016/j.sigpro.2009.07.009). Differentiable in
    the parameters of the denoiser.

    Args:
        denoiser: Any callable from an image to an image.
        y: Counts times the gain γ, of any shape.
        noise: Poisson noise of that gain.
        key: Key of the random choice of pixels.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Weight of each pixel; one by default.
        density: Share d of the pixels that lose a photon, between 0 and 1: the random
            error falls as its root, until so many photons no longer add up.

    Returns:
        The risk, in the unit of the data squared; it may be negative.

    Raises:
        ValueError: The noise is of another model (`sure` takes them all), the density
            is none, the data are complex, or the mask has another shape or no pixel.

    Example:
        >>> import jax, tvjax
        >>> key = jax.random.key(0)
        >>> y = jax.random.poisson(key, 2.0, (64, 64)).astype("float32")
        >>> risk = tvjax.pure(lambda y: 0 * y + 2, y, tvjax.Poisson(), key=key)
        >>> abs(float(risk)) < 0.2  # the truth is two
        True
    """
    if not isinstance(noise, Poisson):
        raise ValueError(
            f"`pure` is for Poisson noise, got {type(noise).__name__}; use `sure`."
        )
    if not 0 < density < 1:
        raise ValueError(f"`density` must be between 0 and 1, got {density}.")
    y, mask, weights = as_judged(y, mask, weights)
    chosen = jax.random.bernoulli(key, density, y.shape).astype(y.dtype)
    photon = only_valid(mask, chosen * (y > 0)) * noise.gain.astype(y.dtype)
    f = denoiser(y)
    readout = y * (chosen - density) / (density * (1 - density))
    derivative = readout * (f - denoiser(y - photon))
    risk = (f - y) ** 2 - noise.variance(y) + 2 * derivative
    return weighted_mean(risk, mask, weights)


def with_error(
    risk: Risk, *args: Any, key: PRNGKeyArray, num_probes: int = 8, **kwargs: Any
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """A risk averaged over several random probes, and the standard error of that mean.

    The error is that of the random probes alone, not of the noise in the data.

    Args:
        risk: `sure`, `sugar`, `pure` or `split`.
        *args: Positional arguments of the risk.
        key: Key that is split into one a probe.
        num_probes: Number of probes, at least 2.
        **kwargs: Keyword arguments of the risk.

    Returns:
        Mean and standard error, in the unit of the data squared.

    Raises:
        ValueError: There is only one probe.
    """
    if num_probes < 2:
        raise ValueError(f"`num_probes` must be at least 2, got {num_probes}.")
    keys = jax.random.split(key, num_probes)
    values = jax.vmap(lambda key: risk(*args, key=key, **kwargs))(keys)
    return jnp.mean(values), jnp.std(values, ddof=1) / num_probes**0.5


def as_judged(
    y: Num[ArrayLike, "*shape"],
    mask: Bool[ArrayLike, "*shape"] | None,
    weights: Real[ArrayLike, "*shape"] | None,
) -> tuple[
    Float[Array, "*shape"], Bool[Array, "*shape"] | None, Float[Array, "*shape"] | None
]:
    """The arguments that all risks share, as arrays of JAX.

    Raises:
        ValueError: The data are complex, or the mask has another shape or no pixel.
    """
    y = as_floating(y)
    if weights is not None:
        weights = as_floating(weights, name="weights")
    return y, as_mask(mask, y.shape), weights


class Probe(NamedTuple):
    """A random direction along which a denoiser's divergence is told.

    Attributes:
        variance: Variance v of the noise in each pixel.
        direction: z, whose products have the mean E z_i r_j = C_ij, the covariance of
            the noise.
        readout: r, which the derivative J z is multiplied by.
    """

    variance: Float[Array, "*shape"]
    direction: Float[Array, "*shape"]
    readout: Float[Array, "*shape"]

    def risk(
        self,
        off: Float[Array, "*shape"],
        derivative: Float[Array, "*shape"],
        mask: Bool[Array, "*shape"] | None,
        weights: Float[Array, "*shape"] | None,
    ) -> Float[Array, ""]:
        """Σ w [(f − y)² − v + 2 r J z] / N."""
        risk = off**2 - self.variance + 2 * self.readout * derivative
        return weighted_mean(risk, mask, weights)


def probe_of(noise: Noise, y: Float[Array, "*shape"], key: PRNGKeyArray) -> Probe:
    """The probe of a noise model: b √|v| and b v/√|v| with b of random signs.

    Where neighbors are alike, it is a draw of the noise, both times.
    """
    v = noise.variance(y)
    if isinstance(noise, Correlated):
        drawn = noise.draw(y, key)
        return Probe(v, drawn, drawn)
    direction = jax.random.rademacher(key, y.shape, y.dtype) * jnp.sqrt(jnp.abs(v))
    return Probe(v, direction, direction * jnp.sign(v))


def only_valid(
    mask: Bool[Array, "*shape"] | None, x: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The image, zero where it is invalid."""
    return x if mask is None else jnp.where(mask, x, 0)


def weighted_mean(
    x: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None,
    weights: Float[Array, "*shape"] | None,
) -> Float[Array, ""]:
    """The mean over the valid pixels of the weighted values."""
    if weights is not None:
        x = weights * x
    if mask is None:
        return jnp.mean(x)
    return jnp.sum(jnp.where(mask, x, 0)) / jnp.sum(mask)
