"""Layout of a stack of spectra as columns, as all fits take it."""

from functools import partial
from math import prod

import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real, Shaped

# GPUs would round the factors of a product of single precision to ten bits.
product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def count_energies(name: str, stack: Real[ArrayLike, "..."]) -> int:
    """The length of the first axis.

    Raises:
        ValueError: There is none.
    """
    shape = np.shape(stack)
    if not shape:
        raise ValueError(f"`{name}` must have an axis of energies, got a scalar.")
    return shape[0]


def float_type(stack: Real[ArrayLike, "..."]) -> np.dtype:
    """The type of the data, of single precision at least."""
    return jnp.promote_types(jnp.asarray(stack).dtype, jnp.float32)


def to_columns(
    y: Real[ArrayLike, " energy *pixels"], mask: Bool[ArrayLike, "*pixels"] | None
) -> tuple[Float[Array, "energy pixel"], Bool[Array, " pixel"], tuple[int, ...]]:
    """Spectra as columns, zero where invalid; where they are valid; pixels' shape.

    Raises:
        ValueError: The mask has another shape than the pixels.
    """
    stack = jnp.asarray(y, float_type(y))
    num_energies, *pixels = stack.shape
    columns = stack.reshape(num_energies, prod(pixels))
    valid = jnp.all(jnp.isfinite(columns), axis=0)
    if mask is not None:
        known = jnp.asarray(mask, bool)
        if known.shape != tuple(pixels):
            raise ValueError(
                f"`mask` must have the shape of the pixels, {tuple(pixels)}, got "
                f"{known.shape}; of a mask for each energy give `mask.all(0)`."
            )
        valid &= known.reshape(-1)
    return jnp.where(valid[None], columns, 0), valid, tuple(pixels)


def to_pixels(
    columns: Shaped[Array, "*leading pixel"], pixels: tuple[int, ...]
) -> Shaped[Array, "..."]:
    """Columns back as images, the leading axis kept where there is one."""
    return columns.reshape(*columns.shape[:-1], *pixels)


def check_ascending(
    energies: Real[ArrayLike, " energy"], num: int, *, least: int = 1
) -> Float[np.ndarray, " energy"]:
    """Energies in NumPy and double precision.

    Raises:
        ValueError: They are not `num`, fewer than `least`, or do not ascend.
    """
    values = np.asarray(energies, float)
    if values.shape != (num,) or num < least:
        raise ValueError(
            f"`energies` must be one per spectrum's sample, {num}, and at least "
            f"{least}, got shape {values.shape}."
        )
    steps = np.diff(values)
    if not np.all((steps > 0) & (steps < np.inf)):
        raise ValueError(
            "`energies` must ascend without repeats: sort them, and the spectra "
            "with them."
        )
    return values


def per_pixel(
    name: str, value: Real[ArrayLike, "..."], pixels: tuple[int, ...], dtype: np.dtype
) -> Float[Array, " pixel"]:
    """A number, or one per pixel, as a column.

    Raises:
        ValueError: It has another shape.
    """
    number = jnp.asarray(value, dtype)
    if number.shape not in ((), pixels):
        raise ValueError(
            f"`{name}` must be a scalar or one per pixel, {pixels}, "
            f"got shape {number.shape}."
        )
    return jnp.broadcast_to(number, pixels).reshape(-1)


def root(square: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """√, with derivative zero at zero."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
