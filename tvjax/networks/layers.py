"""Layers that the networks share: convolutions, and blocks of pixels as features."""

import jax
from jax import Array, lax, numpy as jnp
from jaxtyping import Float, Key


def convolve(
    features: Float[Array, "image height width inputs"],
    kernels: Float[Array, "size size inputs outputs"],
    padding: str = "SAME",
) -> Float[Array, "image ... outputs"]:
    """Convolve each image with all kernels, at every pixel.

    Args:
        features: Inputs of each pixel.
        kernels: Square kernels from all inputs to all outputs.
        padding: "SAME" keeps height and width, with zeros around the image; "VALID"
            keeps only pixels whose kernel lies within the image.
    """
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        features, kernels, (1, 1), padding, dimension_numbers=layout
    )


def fold(
    features: Float[Array, "image height width feature"],
) -> Float[Array, "image height/2 width/2 4*feature"]:
    """Turn each 2 × 2 pixels into one pixel with four times the features."""
    images, height, width, num = features.shape
    quads = features.reshape(images, height // 2, 2, width // 2, 2, num)
    quads = quads.transpose(0, 1, 3, 2, 4, 5)
    return quads.reshape(images, height // 2, width // 2, 4 * num)


def unfold(
    features: Float[Array, "image height width four_features"],
) -> Float[Array, "image 2*height 2*width four_features/4"]:
    """Turn each pixel into 2 × 2 pixels: the inverse of `fold`."""
    images, height, width, num = features.shape
    quads = features.reshape(images, height, width, 2, 2, num // 4)
    quads = quads.transpose(0, 1, 3, 2, 4, 5)
    return quads.reshape(images, 2 * height, 2 * width, num // 4)


def sum_quads(
    y: Float[Array, "height width"],
) -> Float[Array, " (height+1)//2 (width+1)//2"]:
    """Sum each 2 × 2 pixels, and fewer at a border of odd length."""
    height, width = ((n + 1) // 2 for n in y.shape)
    even = jnp.pad(y, [(0, n % 2) for n in y.shape])
    return even.reshape(height, 2, width, 2).sum(axis=(1, 3))


def draw_kernels(
    key: Key[Array, ""], shape: tuple[int, int, int, int], gain: float
) -> Float[Array, "size size inputs outputs"]:
    """Draw normal numbers that keep the size of the features, times a gain.

    The variance is 2 gain² over the inputs of a kernel (He et al. 2015,
    10.1109/ICCV.2015.123).
    """
    initializer = jax.nn.initializers.variance_scaling(2 * gain**2, "fan_in", "normal")
    return initializer(key, shape, jnp.float32)
