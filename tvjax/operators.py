"""Finite differences of an image, their adjoint, and total variation."""

from typing import get_args, Literal

import jax
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.arguments import check_choice

Norm = Literal["isotropic", "anisotropic"]


def valid_differences(
    shape: tuple[int, ...], mask: Bool[Array, "*shape"] | None = None
) -> Bool[Array, " ndim *shape"]:
    """Where a forward difference exists.

    The difference along an axis from a pixel to its successor exists unless the pixel
    is the last of its line (Neumann boundary) or one of the two is invalid.

    Args:
        shape: Shape of the image.
        mask: True where a pixel is valid; all are, by default.
    """
    if mask is None:
        mask = jnp.ones(shape, dtype=bool)
    return jnp.stack([mask & _shift(mask, axis) for axis in range(len(shape))])


def difference(
    x: Float[Array, "*shape"], exists: Bool[Array, " ndim *shape"] | None = None
) -> Float[Array, " ndim *shape"]:
    """Forward differences, (∇x)_k[i] = x[i + e_k] − x[i], zero where there is none.

    Args:
        x: Image of any number of axes.
        exists: Where a difference exists, from `valid_differences`; by default
            everywhere but at the end of each line.
    """
    if exists is None:
        exists = valid_differences(x.shape)
    steps = jnp.stack([_shift(x, axis) - x for axis in range(x.ndim)])
    return jnp.where(exists, steps, 0)


def difference_adjoint(
    p: Float[Array, " ndim *shape"],
    exists: Bool[Array, " ndim *shape"] | None = None,
) -> Float[Array, "*shape"]:
    """The adjoint of `difference`, ⟨∇x, p⟩ = ⟨x, ∇ᵀp⟩; the divergence is −∇ᵀ.

    Args:
        p: A vector for each pixel.
        exists: Where a difference exists, as for `difference`.
    """
    image = jax.ShapeDtypeStruct(p.shape[1:], p.dtype)
    (x,) = jax.linear_transpose(lambda x: difference(x, exists), image)(p)
    return x


def pixel_norm(
    p: Float[Array, " ndim *shape"], norm: Norm = "isotropic"
) -> Float[Array, "*shape"]:
    """Length of the vector in each pixel, Euclidean (isotropic) or ℓ₁ (anisotropic).

    Its gradient at a zero vector is zero, never NaN.

    Raises:
        ValueError: `norm` names no norm.
    """
    check_choice("norm", norm, get_args(Norm))
    if norm == "anisotropic":
        # the sign is zero at zero, where JAX has a slope of one for `abs`
        return jnp.sum(p * lax.stop_gradient(jnp.sign(p)), axis=0)
    squared = jnp.sum(p * p, axis=0)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1)), 0)


def total_variation(
    x: Float[Array, "*shape"],
    *,
    mask: Bool[Array, "*shape"] | None = None,
    norm: Norm = "isotropic",
) -> Float[Array, ""]:
    """TV(x) = Σ_i |∇x|_i over differences between valid pixels, in the unit of x.

    Args:
        x: Image of any number of axes.
        mask: True where a pixel is valid; all are, by default.
        norm: "isotropic" (Euclidean length of a gradient) or "anisotropic" (ℓ₁).

    Raises:
        ValueError: `norm` names no norm.
    """
    x = x if mask is None else jnp.where(mask, x, 0)
    return jnp.sum(pixel_norm(difference(x, valid_differences(x.shape, mask)), norm))


def _shift(
    x: Float[Array, "*shape"] | Bool[Array, "*shape"], axis: int
) -> Float[Array, "*shape"] | Bool[Array, "*shape"]:
    """The successor of each pixel along an axis; zero (False) past the end."""
    low_high_interior = [(0, 0, 0)] * x.ndim
    low_high_interior[axis] = (-1, 1, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), low_high_interior)
