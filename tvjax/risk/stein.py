"""How far is a denoised image from the truth, when nobody knows the truth?

For a denoiser f, data y = truth + noise of variance v, and weights w (one by default),
all means over the N valid pixels:

    E Σ w (f − truth)²  =  E Σ w [(f − y)² − v + 2 v ∂f/∂y]          (Stein 1981)

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
from typing import Any, TypeAlias

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.noise import Noise, Poisson

# The step of a finite probe, in standard deviations of the noise.
WIDTH = 0.15

Denoiser: TypeAlias = Callable[[Array], Array]
Risk: TypeAlias = Callable[..., Float[Array, ""]]


def sure(
    denoiser: Denoiser,
    y: Float[Array, "*shape"],
    noise: Noise,
    *,
    key: PRNGKeyArray,
    mask: Bool[Array, "*shape"] | None = None,
    weights: Float[Array, "*shape"] | None = None,
) -> Float[Array, ""]:
    """Stein's unbiased risk estimate by one exact directional derivative.

    Ramani, Blu, Unser 2008 (10.1109/TIP.2008.2001404). For Poisson counts this is PURE
    to first order. Its own slope in a parameter of the denoiser would miss the jumps of
    the derivative; `jax.grad` of it is that of `sugar` along the same direction.

    Args:
        denoiser: Any differentiable callable from an image to an image.
        y: Noisy data.
        noise: A noise model, or any object with `variance(y)`.
        key: Of the random direction.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Of each pixel; one by default.
    """
    v = noise.variance(y)
    # what the denoiser closes over is an argument, too, to differentiate in
    closed = eqx.filter_closure_convert(denoiser, y)
    return _stein(closed, y, v, random_signs(y, key), mask, weights)


@eqx.filter_custom_jvp
def _stein(
    denoiser: Denoiser,
    y: Array,
    v: Array,
    signs: Array,
    mask: Array | None,
    weights: Array | None,
) -> Array:
    direction, readout = probe_directions(v, signs)
    f, derivative = jax.jvp(denoiser, (y,), (only_valid(mask, direction),))
    return weighted_mean((f - y) ** 2 - v + 2 * readout * derivative, mask, weights)


@_stein.def_jvp
def _stein_jvp(
    primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    def finite(denoiser, y, v, signs, mask, weights):
        resume_pair = _without_memory(denoiser)
        risk = _finite_risk(resume_pair, y, v, signs, None, mask, weights, WIDTH)
        return risk[0]

    _, slope = eqx.filter_jvp(finite, primals, tangents)
    return _stein(*primals), slope


def sugar(
    denoiser: Denoiser,
    y: Float[Array, "*shape"],
    noise: Noise,
    *,
    key: PRNGKeyArray,
    mask: Bool[Array, "*shape"] | None = None,
    weights: Float[Array, "*shape"] | None = None,
    width: float = WIDTH,
) -> Float[Array, ""]:
    """Stein's risk with a finite probe: the one whose gradient in a parameter is right.

    The derivative along b is (f(y + ε b) − f(y))/ε with ε = `width` standard
    deviations of the noise, for one b: smooth in the parameters of f. Wider is smoother
    but biased. Deledalle, Vaiter, Fadili, Peyré 2014 (10.1137/140968045).

    Args:
        denoiser: Any callable, differentiable in its parameters.
        y: Noisy data.
        noise: A noise model, or any object with `variance(y)`.
        key: Of the random direction; the same key gives the same smooth function.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Of each pixel; one by default.
        width: Length of the step, in standard deviations of the noise.
    """
    value, _ = resumed_sugar(
        _without_memory(denoiser),
        y,
        noise,
        None,
        key=key,
        mask=mask,
        weights=weights,
        width=width,
    )
    return value


def resumed_sugar(
    resume_pair: Callable[[Array, object], tuple[Array, object]],
    y: Float[Array, "*shape"],
    noise: Noise,
    memory: object,
    *,
    key: PRNGKeyArray,
    mask: Bool[Array, "*shape"] | None = None,
    weights: Float[Array, "*shape"] | None = None,
    width: float = WIDTH,
) -> tuple[Float[Array, ""], object]:
    """`sugar` of a denoiser that goes on from a memory.

    Args:
        resume_pair: Denoises y and y + ε b, stacked, from a memory of both, and gives
            the better memory back.
        y: As for `sugar`, like the other arguments.
        noise: See there.
        memory: From the last call, with other parameters.
        key: See there.
        mask: See there.
        weights: See there.
        width: See there.
    """
    v, signs = noise.variance(y), random_signs(y, key)
    return _finite_risk(resume_pair, y, v, signs, memory, mask, weights, width)


def _finite_risk(
    resume_pair: Callable[[Array, object], tuple[Array, object]],
    y: Array,
    v: Array,
    signs: Array,
    memory: object,
    mask: Array | None,
    weights: Array | None,
    width: float,
) -> tuple[Array, object]:
    direction, readout = probe_directions(v, signs)
    stepped = y + width * only_valid(mask, direction)
    (f, moved), memory = resume_pair(jnp.stack([y, stepped]), memory)
    derivative = (moved - f) / width
    return weighted_mean(
        (f - y) ** 2 - v + 2 * readout * derivative, mask, weights
    ), memory


def _without_memory(
    denoiser: Denoiser,
) -> Callable[[Array, object], tuple[Array, object]]:
    return lambda pair, memory: (jax.vmap(denoiser)(pair), memory)


def pure(
    denoiser: Denoiser,
    y: Float[Array, "*shape"],
    noise: Poisson,
    *,
    key: PRNGKeyArray,
    mask: Bool[Array, "*shape"] | None = None,
    weights: Float[Array, "*shape"] | None = None,
    density: float = 1 / 64,
) -> Float[Array, ""]:
    """The Poisson unbiased risk estimate, with whole photons taken away.

        E Σ (f − truth)² = E Σ [f² − 2 y_i f_i(y − γ e_i) + y² − γ y]

    Exact for Poisson counts times γ but for one thing: the photons are taken from a
    random share of all pixels at once, whose influence on each other is assumed small.
    Luisier, Vonesch, Blu, Unser 2010 (10.1016/j.sigpro.2009.07.009). Differentiable in
    the parameters of the denoiser.

    Args:
        denoiser: Any callable from an image to an image.
        y: Counts times the gain.
        noise: Poisson.
        key: Of the random choice of pixels.
        mask: True where a pixel is valid; the others count nowhere.
        weights: Of each pixel; one by default.
        density: Share of the pixels that lose a photon.

    Raises:
        ValueError: For another noise model; `sure` takes them all.
    """
    if not isinstance(noise, Poisson):
        raise ValueError(
            f"`pure` is for Poisson noise, got {type(noise).__name__}; use `sure`."
        )
    chosen = jax.random.bernoulli(key, density, y.shape).astype(y.dtype)
    photon = only_valid(mask, chosen * (y > 0)) * noise.gain.astype(y.dtype)
    f = denoiser(y)
    derivative = y * chosen / density * (f - denoiser(y - photon))
    risk = (f - y) ** 2 - noise.variance(y) + 2 * derivative
    return weighted_mean(risk, mask, weights)


def with_error(
    risk: Risk, *args: object, key: PRNGKeyArray, num_probes: int = 8, **kwargs: object
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """A risk averaged over several random probes, and the standard error of that mean.

    The error is that of the random probes alone, not of the noise in the data.

    Args:
        risk: `sure`, `sugar` or `pure`.
        *args: Its positional arguments.
        key: Split into one a probe.
        num_probes: At least 2.
        **kwargs: Its keyword arguments.
    """
    if num_probes < 2:
        raise ValueError(f"`num_probes` must be at least 2, got {num_probes}.")
    keys = jax.random.split(key, num_probes)
    values = jax.vmap(lambda key: risk(*args, key=key, **kwargs))(keys)
    return jnp.mean(values), jnp.std(values, ddof=1) / num_probes**0.5


def random_signs(y: Array, key: PRNGKeyArray) -> Array:
    """The random direction, before its length is known."""
    return jax.random.rademacher(key, y.shape, y.dtype)


def probe_directions(v: Array, signs: Array) -> tuple[Array, Array]:
    """b √|v| to probe along and b v/√|v| to read out."""
    deviation = jnp.sqrt(jnp.abs(v))
    return signs * deviation, signs * deviation * jnp.sign(v)


def only_valid(mask: Array | None, x: Array) -> Array:
    return x if mask is None else jnp.where(mask, x, 0)


def weighted_mean(x: Array, mask: Array | None, weights: Array | None) -> Array:
    """The mean over the valid pixels of the weighted values."""
    if weights is not None:
        x = weights * x
    if mask is None:
        return jnp.mean(x)
    return jnp.sum(jnp.where(mask, x, 0)) / jnp.sum(mask)
