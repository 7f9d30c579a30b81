"""What are the gradient of an image, its adjoint, total variation and local mean?"""

from typing import get_args, Literal

import jax
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float

Norm = Literal["isotropic", "anisotropic"]


def valid_edges(
    shape: tuple[int, ...], mask: Bool[Array, "*shape"] | None = None
) -> Bool[Array, " ndim *shape"]:
    """Where does a forward difference exist?

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
    u: Float[Array, "*shape"], edges: Bool[Array, " ndim *shape"] | None = None
) -> Float[Array, " ndim *shape"]:
    """Forward differences, (∇u)_k[i] = u[i + e_k] − u[i], zero where there is no edge.

    Args:
        u: Image of any number of axes.
        edges: Where a difference exists, from `valid_edges`; by default everywhere but
            at the end of each line.
    """
    if edges is None:
        edges = valid_edges(u.shape)
    steps = jnp.stack([_shift(u, axis) - u for axis in range(u.ndim)])
    return jnp.where(edges, steps, 0)


def difference_adjoint(
    p: Float[Array, " ndim *shape"], edges: Bool[Array, " ndim *shape"] | None = None
) -> Float[Array, "*shape"]:
    """The adjoint of `difference`, ⟨∇u, p⟩ = ⟨u, ∇ᵀp⟩; the divergence is −∇ᵀ."""
    image = jax.ShapeDtypeStruct(p.shape[1:], p.dtype)
    (u,) = jax.linear_transpose(lambda u: difference(u, edges), image)(p)
    return u


def pixel_norm(
    p: Float[Array, " ndim *shape"], norm: Norm = "isotropic"
) -> Float[Array, "*shape"]:
    """Length of the vector in each pixel, Euclidean (isotropic) or ℓ₁ (anisotropic).

    Its gradient at a zero vector is zero, never NaN.
    """
    check_norm(norm)
    if norm == "anisotropic":
        # the sign is zero at zero, where JAX has a slope of one for `abs`
        return jnp.sum(p * lax.stop_gradient(jnp.sign(p)), axis=0)
    squared = jnp.sum(p * p, axis=0)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1)), 0)


def total_variation(
    u: Float[Array, "*shape"],
    *,
    mask: Bool[Array, "*shape"] | None = None,
    norm: Norm = "isotropic",
) -> Float[Array, ""]:
    """TV(u) = Σ_i |∇u|_i over differences between valid pixels, in the unit of u."""
    u = u if mask is None else jnp.where(mask, u, 0)
    return jnp.sum(pixel_norm(difference(u, valid_edges(u.shape, mask)), norm))


def check_norm(norm: str) -> None:
    """Raise a `ValueError` unless `norm` names a pixel norm."""
    if norm not in get_args(Norm):
        raise ValueError(f"`norm` must be one of {get_args(Norm)}, got {norm!r}.")


def _shift(u: Array, axis: int) -> Array:
    """The successor of each pixel along an axis; zero (False) past the end."""
    low_high_interior = [(0, 0, 0)] * u.ndim
    low_high_interior[axis] = (-1, 1, 0)
    return lax.pad(u, jnp.zeros((), u.dtype), low_high_interior)
