"""Distances of an image from the truth, where the truth is known."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real


def mse(
    x: Real[ArrayLike, "*shape"],
    truth: Real[ArrayLike, "*shape"],
    mask: Bool[ArrayLike, "*shape"] | None = None,
) -> Float[Array, ""]:
    """Mean of (x − truth)² over the valid pixels, in the unit of `x` squared.

    Args:
        x: Image.
        truth: The same image without noise.
        mask: True where a pixel is valid; all are, by default.

    Raises:
        ValueError: The two have different shapes.
    """
    x, truth, valid = _valid_pair(x, truth, mask)
    return jnp.sum((x - truth) ** 2) / jnp.sum(valid)


def psnr(
    x: Real[ArrayLike, "*shape"],
    truth: Real[ArrayLike, "*shape"],
    mask: Bool[ArrayLike, "*shape"] | None = None,
    *,
    peak: float,
) -> Float[Array, ""]:
    """Peak signal-to-noise ratio 10 log₁₀(peak² / MSE) in dB.

    Args:
        x: Image.
        truth: The same image without noise.
        mask: True where a pixel is valid; all are, by default.
        peak: Greatest possible value, in the unit of `x`: state the one that your
            comparison uses, since the ratio means nothing without it.

    Raises:
        ValueError: The two have different shapes.
    """
    return 10 * jnp.log10(peak**2 / mse(x, truth, mask))


def correlation(
    x: Real[ArrayLike, "*shape"],
    truth: Real[ArrayLike, "*shape"],
    mask: Bool[ArrayLike, "*shape"] | None = None,
) -> Float[Array, ""]:
    """Pearson's correlation over the valid pixels, NaN where either is constant.

    Args:
        x: Image.
        truth: The same image without noise.
        mask: True where a pixel is valid; all are, by default.

    Raises:
        ValueError: The two have different shapes.
    """
    x, truth, valid = _valid_pair(x, truth, mask)
    x, truth = (
        jnp.where(valid, image - jnp.sum(image) / jnp.sum(valid), 0)
        for image in (x, truth)
    )
    return jnp.sum(x * truth) / jnp.sqrt(jnp.sum(x**2) * jnp.sum(truth**2))


def _valid_pair(
    x: Real[ArrayLike, "*shape"],
    truth: Real[ArrayLike, "*truth"],
    mask: Bool[ArrayLike, "*shape"] | None,
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Both images as floating point, zero where the mask is False; and the mask."""
    x, truth = jnp.asarray(x, float), jnp.asarray(truth, float)
    if x.shape != truth.shape:
        raise ValueError(
            f"`x` and `truth` must have one shape, got {x.shape} and {truth.shape}."
        )
    valid = jnp.ones(x.shape, bool) if mask is None else jnp.asarray(mask, bool)
    return jnp.where(valid, x, 0), jnp.where(valid, truth, 0), valid
