"""Layers that the networks share: convolutions, and blocks of pixels as features."""

import math

import jax
from jax import Array, lax, numpy as jnp
from jaxtyping import Float, Key


def convolve(
    features: Float[Array, "image height width inputs"],
    kernels: Float[Array, "size size inputs outputs"],
    padding: str = "SAME",
) -> Float[Array, "image ... outputs"]:
    """Convolutions of stride one."""
    if features.dtype == jnp.float64:
        # XLA's compiler takes minutes over convolutions in double precision on a CPU.
        patches = _patches(features, len(kernels), padding)
        return patches @ kernels.reshape(-1, kernels.shape[-1])
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        features, kernels, (1, 1), padding, dimension_numbers=layout
    )


def fold(
    features: Float[Array, "image height width feature"],
) -> Float[Array, "image height/2 width/2 4*feature"]:
    """Each 2 × 2 pixels as one, of four times the features."""
    images, height, width, num = features.shape
    quads = features.reshape(images, height // 2, 2, width // 2, 2, num)
    quads = quads.transpose(0, 1, 3, 2, 4, 5)
    return quads.reshape(images, height // 2, width // 2, 4 * num)


def unfold(
    features: Float[Array, "image height width 4*feature"],
) -> Float[Array, "image 2*height 2*width feature"]:
    """The inverse of `fold`."""
    images, height, width, num = features.shape
    quads = features.reshape(images, height, width, 2, 2, num // 4)
    quads = quads.transpose(0, 1, 3, 2, 4, 5)
    return quads.reshape(images, 2 * height, 2 * width, num // 4)


def sum_quads(y: Float[Array, "height width"]) -> Float[Array, "height/2 width/2"]:
    """The sums of 2 × 2 pixels, of fewer at a border of odd length."""
    height, width = ((n + 1) // 2 for n in y.shape)
    even = jnp.pad(y, [(0, n % 2) for n in y.shape])
    return even.reshape(height, 2, width, 2).sum(axis=(1, 3))


def draw_kernels(
    key: Key[Array, ""], shape: tuple[int, int, int, int], gain: float
) -> Float[Array, "size size inputs outputs"]:
    """Normal numbers that keep the size of the features, but for the gain."""
    deviation = gain * math.sqrt(2 / math.prod(shape[:3]))
    return deviation * jax.random.normal(key, shape, jnp.float32)


def _patches(
    features: Float[Array, "image height width inputs"], size: int, padding: str
) -> Float[Array, "image ... size*size*inputs"]:
    """What the kernels see at each pixel."""
    margin = size // 2 if padding == "SAME" else 0
    padded = jnp.pad(features, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    height, width = (n - size + 1 for n in padded.shape[1:3])
    shifted = [
        padded[:, i : i + height, j : j + width]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(shifted, axis=-1)
