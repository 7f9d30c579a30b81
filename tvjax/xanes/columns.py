"""The layout of a stack of spectra, as all fits take it."""

from functools import partial
from math import prod

import numpy as np
from jax import lax, numpy as jnp

# GPUs would round the factors of a product of single precision to ten bits.
product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def count_energies(name, stack):
    shape = np.shape(stack)
    if not shape:
        raise ValueError(f"`{name}` must have an axis of energies, got a scalar.")
    return shape[0]


def float_type(stack):
    return jnp.promote_types(jnp.asarray(stack).dtype, jnp.float32)


def to_columns(stack, mask):
    """Spectra as columns, zero where invalid; where they are valid; pixels' shape."""
    stack = jnp.asarray(stack, float_type(stack))
    num_energies, *pixels = stack.shape
    y = stack.reshape(num_energies, prod(pixels))
    valid = jnp.all(jnp.isfinite(y), axis=0)
    if mask is not None:
        mask = jnp.asarray(mask, bool)
        if mask.shape != tuple(pixels):
            raise ValueError(
                f"`mask` must have the shape of the pixels, {tuple(pixels)}, got "
                f"{mask.shape}; of a mask for each energy give `mask.all(0)`."
            )
        valid &= mask.reshape(-1)
    return jnp.where(valid[None], y, 0), valid, tuple(pixels)


def to_pixels(columns, pixels):
    """Columns back as images, the leading axis kept where there is one."""
    return tuple(c.reshape(*c.shape[:-1], *pixels) for c in columns)


def check_ascending(energies, num, *, least=1):
    energies = np.asarray(energies, float)
    if energies.shape != (num,) or num < least:
        raise ValueError(
            f"`energies` must be one per spectrum's sample, {num}, and at least "
            f"{least}, got shape {energies.shape}."
        )
    steps = np.diff(energies)
    if not np.all((steps > 0) & (steps < np.inf)):
        raise ValueError(
            "`energies` must ascend without repeats: sort them, and the spectra "
            "with them."
        )
    return energies


def per_pixel(name, value, pixels, dtype):
    value = jnp.asarray(value, dtype)
    if value.shape not in ((), pixels):
        raise ValueError(
            f"`{name}` must be a scalar or one per pixel, {pixels}, "
            f"got shape {value.shape}."
        )
    return jnp.broadcast_to(value, pixels).reshape(-1)


def root(square):
    """√, with derivative zero at zero."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
