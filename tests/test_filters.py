import numpy as np
import pytest
from jax import numpy as jnp
from scipy import ndimage

from tvjax.filters import blur, box_sum, widen

SHAPE = (23, 17)


@pytest.fixture
def image():
    return np.random.default_rng(0).random(SHAPE).astype(np.float32)


@pytest.mark.parametrize("side", [1, 3, 5, 15, 21])
def test_squares_are_summed_and_widened(image, side):
    square = np.ones((side, side))
    expected = ndimage.convolve(image, square, mode="constant")
    np.testing.assert_allclose(box_sum(jnp.asarray(image), side), expected, rtol=1e-5)
    chosen = image > 0.98
    expected = ndimage.binary_dilation(chosen, square)
    np.testing.assert_array_equal(widen(jnp.asarray(chosen), side), expected)


def test_a_blur_is_the_weighted_mean_of_what_is_valid(image):
    mask = image < 0.8

    def smooth(z):
        return ndimage.gaussian_filter(
            np.where(mask, z, 0), 1.5, mode="constant", truncate=5 / 1.5
        )

    expected = smooth(image) / smooth(np.ones(SHAPE, np.float32))
    found = blur(jnp.asarray(image), jnp.asarray(mask), 1.5)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
