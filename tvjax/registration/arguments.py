"""What may be asked of a registration, and what is refused in a sentence?"""

from typing import get_args, Literal, TypeAlias

from jax import numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool

By: TypeAlias = Literal["intensity", "gradient"]
Mask: TypeAlias = Bool[ArrayLike, "height width"]
StackMask: TypeAlias = Mask | Bool[ArrayLike, "energy height width"]


def frames_of(stack):
    stack = jnp.asarray(stack)
    if stack.ndim != 3 or len(stack) < 2:
        raise ValueError(
            "`stack` must have the axes (energy, height, width) and at least two "
            f"frames, got shape {stack.shape}."
        )
    return stack


def mask_of(name, mask, shape):
    mask = jnp.ones(shape, bool) if mask is None else jnp.asarray(mask, bool)
    if mask.shape != shape:
        raise ValueError(f"`{name}` must have the shape {shape}, got {mask.shape}.")
    return mask


def masks_of(mask, shape):
    mask = jnp.ones(shape[1:], bool) if mask is None else jnp.asarray(mask, bool)
    if mask.shape not in (shape, shape[1:]):
        raise ValueError(
            f"`mask` must have the shape {shape} or {shape[1:]}, got {mask.shape}."
        )
    return jnp.broadcast_to(mask, shape)


def search_of(max_shift, shape):
    if max_shift is None:
        return max(1, min(32, min(shape) // 4))
    if not 1 <= max_shift < min(shape):
        raise ValueError(
            "`max_shift` must be at least 1 and less than the sides of the frame "
            f"{shape}, got {max_shift}."
        )
    return int(max_shift)


def compared_by(by):
    if by not in get_args(By):
        raise ValueError(f'`by` must be "intensity" or "gradient", got {by!r}.')
    return by
