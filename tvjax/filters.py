"""Filters of images with invalid pixels: blurs, means and sums of what is around."""

import math
import operator
from collections.abc import Callable

import numpy as np
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float, Shaped

# A Gaussian is cut where it is further than this many of its widths from its centre.
REACH = 3
# A blur is zero where less than this share of its window holds valid pixels.
LEAST_SHARE = 1e-3


def blur(
    y: Float[Array, "height width"], mask: Bool[Array, "height width"], width: float
) -> Float[Array, "height width"]:
    """Σ g y / Σ g over the valid pixels, g a Gaussian of `width` pixels.

    Zero where no valid pixel is near.
    """
    kernel = _gaussian(width)

    def smooth(z: Float[Array, "height width"]) -> Float[Array, "height width"]:
        for axis in (0, 1):
            wide, size = _pad(z, len(kernel), axis), z.shape[axis]
            terms = (float(g) * _cut(wide, i, size, axis) for i, g in enumerate(kernel))
            z = sum(terms, jnp.zeros((), z.dtype))
        return z

    total, share = smooth(jnp.where(mask, y, 0)), smooth(mask.astype(y.dtype))
    near = share > LEAST_SHARE
    return jnp.where(near, total / jnp.where(near, share, 1), 0)


def fourier_convolve(
    images: Float[Array, "image height width"], transform: Float[Array, "row column"]
) -> Float[Array, "image height width"]:
    """Σ g y, g a Gaussian whose sum is one; zero beyond the frame.

    For wide Gaussians, by Fourier transforms.

    Args:
        images: Images y.
        transform: Fourier transform of g, from `gaussian_transform`.
    """
    lengths = (transform.shape[0], 2 * (transform.shape[1] - 1))
    spectrum = jnp.fft.rfft2(images, lengths) * transform
    return jnp.fft.irfft2(spectrum, lengths)[:, : images.shape[1], : images.shape[2]]


def gaussian_transform(
    shape: tuple[int, ...], width: float, widest: float
) -> Float[np.ndarray, "row column"]:
    """The Fourier transform of a Gaussian, for `fourier_convolve`.

    Args:
        shape: Height and width of the images.
        width: Width of the Gaussian in pixels.
        widest: Greatest width that is in use: the transforms of all widths have one
            shape, so that one program serves them all.
    """
    kernel = _gaussian(width)
    reach, most = len(kernel) // 2, len(_gaussian(widest)) // 2

    def along(size: int) -> Float[np.ndarray, " frequency"]:
        # far enough apart that nothing comes back around; of small prime factors
        length = -(-(size + most) // 64) * 64
        around = np.zeros(length)
        np.add.at(around, np.arange(-reach, reach + 1) % length, kernel)
        return np.fft.fft(around).real

    rows, columns = map(along, shape)
    return np.outer(rows, columns[: len(columns) // 2 + 1])


def gaussian_peak(width: float) -> float:
    """The weight that `fourier_convolve` gives to a pixel itself."""
    return float(np.max(_gaussian(width)) ** 2)


def box_sum(z: Float[Array, "height width"], side: int) -> Float[Array, "height width"]:
    """The sum over a square of odd side around each pixel."""
    return _over_square(z, side, operator.add)


def dilate(
    chosen: Bool[Array, "height width"], side: int
) -> Bool[Array, "height width"]:
    """True in a square of odd side around each chosen pixel."""
    return _over_square(chosen, side, operator.or_)


def local_mean(
    y: Float[Array, "image height width"],
    mask: Bool[Array, "image height width"] | None = None,
    side: int = 9,
) -> Float[Array, "image height width"]:
    """The mean of the valid pixels in a square around each pixel.

    Args:
        y: Images, zero where invalid.
        mask: True where a pixel is valid; all are, by default.
        side: Odd side of the square, in pixels.
    """

    def total(z: Float[Array, "image height width"]) -> Array:
        return lax.reduce_window(z, 0.0, lax.add, (1, side, side), (1, 1, 1), "SAME")

    if mask is not None:
        return total(y) / jnp.maximum(total(mask.astype(y.dtype)), 1)
    half = side // 2
    rows, columns = (
        np.minimum(np.arange(size) + half, size - 1)
        - np.maximum(np.arange(size) - half, 0)
        + 1
        for size in y.shape[1:]
    )
    return total(y) / jnp.asarray(np.outer(rows, columns), y.dtype)


def bin_pixels(
    z: Float[Array, "height width"], step: int
) -> Float[Array, "row column"]:
    """Sums over squares of `step` pixels a side; a rest at the end is left out."""
    height, width = (size // step for size in z.shape)
    z = z[: height * step, : width * step]
    return z.reshape(height, step, width, step).sum((1, 3))


def central_differences(
    f: Float[Array, "height width"], mask: Bool[Array, "height width"]
) -> Float[Array, "2 height width"]:
    """(f[i + 1] − f[i − 1])/2 along y and x, zero where a neighbor is missing."""

    def along(axis: int) -> Float[Array, "height width"]:
        ahead, behind = (jnp.roll(f, step, axis) for step in (-1, 1))
        there = jnp.roll(mask, -1, axis) & jnp.roll(mask, 1, axis)
        line = jnp.arange(f.shape[axis])
        inner = jnp.expand_dims((line > 0) & (line < len(line) - 1), 1 - axis)
        return jnp.where(there & inner, (ahead - behind) / 2, 0)

    return jnp.stack([along(0), along(1)])


def _gaussian(width: float) -> Float[np.ndarray, " pixel"]:
    """A Gaussian along a line of pixels, of sum one."""
    reach = math.ceil(REACH * width)
    kernel = np.exp(-np.square(np.arange(-reach, reach + 1) / width) / 2)
    return kernel / kernel.sum()


def _over_square(
    z: Shaped[Array, "height width"],
    side: int,
    combine: Callable[[Array, Array], Array],
) -> Shaped[Array, "height width"]:
    """Combine pixels along y, then x, by windows of 1, 2, 4, ... of them.

    Processors do that many times faster than XLA's own windows.
    """
    for axis in (0, 1):
        window, total, done = _pad(z, side, axis), None, 0
        for digit in range(side.bit_length()):
            width = 2**digit
            if side & width:
                part = _cut(window, done, z.shape[axis], axis)
                total = part if total is None else combine(total, part)
                done += width
            if 2 * width <= side:
                length = window.shape[axis] - width
                window = combine(
                    _cut(window, 0, length, axis), _cut(window, width, length, axis)
                )
        z = z if total is None else total
    return z


def _pad(
    z: Shaped[Array, "height width"], side: int, axis: int
) -> Shaped[Array, "rows columns"]:
    """The image with zeros around, for windows of an odd number of pixels."""
    around = [(0, 0), (0, 0)]
    around[axis] = (side // 2, side // 2)
    return jnp.pad(z, around)


def _cut(
    z: Shaped[Array, "height width"], first: int, length: int, axis: int
) -> Shaped[Array, "rows columns"]:
    return lax.slice_in_dim(z, first, first + length, axis=axis)
