"""Random numbers, by programs that many shapes share."""

from functools import partial

import jax
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, PRNGKeyArray

# Arrays of up to so many deviates share a program for each power of two, whatever their
# shape, because one for binomial deviates takes seconds to compile.
SHARED = 2**18


def white_noise(
    shape: tuple[int, ...], key: PRNGKeyArray, dtype: DTypeLike
) -> Float[Array, "*shape"]:
    """Independent normal deviates of variance one."""
    size = 1
    for length in shape:
        size *= length
    return _normal(key, padded_size(size), dtype)[:size].reshape(shape)


def padded_size(size: int) -> int:
    """How many deviates are drawn where so many are needed."""
    return size if size > SHARED else 1 << max(size - 1, 1).bit_length()


@partial(jax.jit, static_argnums=(1, 2))
def _normal(key: PRNGKeyArray, size: int, dtype: DTypeLike) -> Float[Array, " {size}"]:
    return jax.random.normal(key, (size,), dtype)
