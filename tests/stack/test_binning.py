import numpy as np
import pytest

from tvjax.stack.binning import Binning, square_sums

SHAPE = (21, 34)  # no multiple of the sides


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(5, *SHAPE))


@pytest.fixture(params=[1, 2, 4])
def side(request):
    return request.param


@pytest.fixture(params=[False, True])
def binning(request, side):
    weight = np.random.default_rng(1).random(SHAPE) if request.param else None
    return Binning(side, weight)


def test_squares_are_summed():
    image = np.arange(16.0).reshape(1, 4, 4)
    expected = np.array([[[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [42, 50]]]) / 2
    np.testing.assert_allclose(square_sums(image, 2), expected)
    # what the border cuts is summed as far as it goes
    np.testing.assert_allclose(square_sums(image, 3)[0, 1, 1] * 3, 15)


def test_binning_twice_is_the_product_of_binned_images(binning, images):
    binned = binning.bin(images)
    np.testing.assert_allclose(
        np.tensordot(images, binning.bin_and_spread(images), ((1, 2), (1, 2))),
        binned @ binned.T,
    )


def test_variances_are_those_of_white_noise(binning):
    rng, variance = np.random.default_rng(2), np.linspace(0, 3, 34) * np.ones(SHAPE)
    noise = np.sqrt(variance) * rng.normal(size=(4000, *SHAPE))
    found = np.mean(binning.bin(noise) ** 2, axis=0)
    np.testing.assert_allclose(binning.variances(variance), found, rtol=0.15)
