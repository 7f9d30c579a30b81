import numpy as np
import pytest
from jax import numpy as jnp
from scipy import ndimage

from tvjax.filters import (
    bin_pixels,
    blur,
    box_sum,
    central_differences,
    dilate,
    fourier_convolve,
    gaussian_peak,
    gaussian_transform,
    local_mean,
)

SHAPE = (23, 17)


@pytest.fixture
def image():
    return np.random.default_rng(0).random(SHAPE).astype(np.float32)


@pytest.mark.parametrize("side", [1, 3, 5, 15, 21])
def test_squares_are_summed_and_dilated(image, side):
    square = np.ones((side, side))
    expected = ndimage.convolve(image, square, mode="constant")
    np.testing.assert_allclose(box_sum(jnp.asarray(image), side), expected, rtol=1e-5)
    chosen = image > 0.98
    expected = ndimage.binary_dilation(chosen, square)
    np.testing.assert_array_equal(dilate(jnp.asarray(chosen), side), expected)


def test_a_blur_is_the_weighted_mean_of_what_is_valid(image):
    mask = image < 0.8

    def smooth(z):
        return ndimage.gaussian_filter(
            np.where(mask, z, 0), 1.5, mode="constant", truncate=5 / 1.5
        )

    expected = smooth(image) / smooth(np.ones(SHAPE, np.float32))
    found = blur(jnp.asarray(image), jnp.asarray(mask), 1.5)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_blur_far_from_all_valid_pixels_is_zero(image):
    mask = np.zeros(SHAPE, bool)
    mask[0, 0] = True
    found = blur(jnp.asarray(image), jnp.asarray(mask), 1.0)
    assert found[0, 0] == pytest.approx(image[0, 0], rel=1e-6)
    assert not found[4:].any() and not found[:, 4:].any()


@pytest.mark.parametrize("width", [1.0, 2.5, 8.0])
def test_wide_gaussians_are_convolved_by_fourier_transforms(image, width):
    images = np.stack([image, image.T.reshape(SHAPE)])
    transform = gaussian_transform(SHAPE, width, widest=8.0)
    assert transform.shape == gaussian_transform(SHAPE, 8.0, widest=8.0).shape
    found = fourier_convolve(jnp.asarray(images), jnp.asarray(transform, jnp.float32))
    for one, smooth in zip(images, found, strict=True):
        expected = ndimage.gaussian_filter(
            one, width, mode="constant", truncate=np.ceil(3 * width) / width
        )
        # single precision, sums over a thousand pixels
        np.testing.assert_allclose(smooth, expected, atol=1e-5)


def test_the_peak_is_what_a_pixel_keeps_of_itself():
    spike = np.zeros((1, 41, 41), np.float32)
    spike[0, 20, 20] = 1
    transform = jnp.asarray(gaussian_transform((41, 41), 2.0, 4.0), jnp.float32)
    found = fourier_convolve(jnp.asarray(spike), transform)[0, 20, 20]
    np.testing.assert_allclose(found, gaussian_peak(2.0), rtol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_local_mean_is_that_of_the_valid_pixels_in_the_square(image, masked):
    mask = image < 0.7 if masked else np.ones(SHAPE, bool)
    square = np.ones((5, 5))
    total, count = (
        ndimage.convolve(z, square, mode="constant")
        for z in (np.where(mask, image, 0), mask.astype(float))
    )
    y = jnp.asarray(np.where(mask, image, 0))[None]
    found = local_mean(y, jnp.asarray(mask)[None] if masked else None, side=5)
    np.testing.assert_allclose(found[0], total / count, rtol=1e-5)


def test_bins_are_sums_and_a_rest_is_left_out(image):
    found = np.asarray(bin_pixels(jnp.asarray(image), 4))
    assert found.shape == (5, 4)
    for i, j in np.ndindex(found.shape):
        expected = image[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].sum()
        np.testing.assert_allclose(found[i, j], expected, rtol=1e-5)


def test_central_differences_of_a_plane_are_its_slopes():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    mask = np.ones(SHAPE, bool)
    mask[10, 8] = False
    plane = np.where(mask, 3 * y - 2 * x, 1e9)
    down, across = central_differences(jnp.asarray(plane), jnp.asarray(mask))
    # zero at the border and beside the invalid pixel, along its own line only
    expected = np.full(SHAPE, 3.0)
    expected[[0, -1]] = expected[[9, 11], 8] = 0
    np.testing.assert_array_equal(down, expected)
    expected = np.full(SHAPE, -2.0)
    expected[:, [0, -1]] = expected[10, [7, 9]] = 0
    np.testing.assert_array_equal(across, expected)
