import numpy as np
import pytest

from tvjax.noise import Gaussian, Poisson
from tvjax.stack.blocks import add_up, Blocks, project
from tvjax.stack.pixel_noise import (
    component_variances,
    follows_the_pixels,
    PixelNoise,
    uneven_variance,
)

SHAPE, FRAME = (5, 12, 7), (48, 56)


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).uniform(1, 5, SHAPE).astype(np.float32)


def test_variance_is_that_of_each_component(data):
    counts = np.abs(data)
    vectors, sigma = np.linalg.qr(np.ones((5, 2)) + np.eye(5, 2))[0], np.ones(5)
    few = Blocks(counts, None, 1, lambda done, total: None)
    assert add_up(few, Poisson(2.0)).variance == pytest.approx(
        2 * counts.mean(axis=(1, 2)), rel=1e-5
    )
    images = project(few, vectors, sigma).images
    # with all components the truncated stack is the stack
    low = np.maximum(np.tensordot(vectors, images, 1), 0)
    level = Gaussian(np.sqrt(2 * low))  # for each value, cut like the data
    for noise in (Poisson(2.0), level):
        found = component_variances(few, noise, images, vectors, sigma, 2)
        expected = np.tensordot(vectors**2, 2 * low, (0, 0))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_even_noise_is_not_called_uneven_and_uneven_noise_is_found():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(24, *FRAME))
    shade = np.broadcast_to(np.linspace(0.5, 1.5, FRAME[1]), FRAME)
    none = z[:0]
    assert uneven_variance(none, np.sum(z**2, axis=0), 24, None) is None
    power = np.sum(shade * z**2, axis=0)
    found = uneven_variance(none, power, 24, None)
    assert np.mean((found / shade - 1) ** 2) ** 0.5 < 0.1
    mask = rng.random(FRAME) < 0.8
    found = uneven_variance(none, np.where(mask, power, 0), 24, mask)
    assert np.mean((found / shade - 1)[mask] ** 2) ** 0.5 < 0.12


def test_noise_of_one_level_a_frame_does_not_follow_the_pixels():
    assert not follows_the_pixels(Gaussian(1.0))
    assert not follows_the_pixels(Gaussian(np.ones((5, 1, 1))))
    assert follows_the_pixels(Gaussian(np.ones(SHAPE)))
    assert follows_the_pixels(Poisson())


def test_variances_come_from_the_model_or_from_the_stack(data):
    whole = Blocks(data, None, 2**20, lambda done, total: None)
    vectors, sigma = np.linalg.qr(np.ones((5, 2)) + np.eye(5, 2))[0], np.ones(5)
    projected = project(whole, vectors, sigma)
    images = projected.images

    def found(noise):
        pixels = PixelNoise(noise, whole, sigma, projected.power, 1.0)
        return pixels.variances(images, vectors, 2)

    assert found(Gaussian(1.0)) is None
    expected = component_variances(whole, Poisson(), images, vectors, sigma, 2)
    np.testing.assert_array_equal(found(Poisson()), expected)
    # estimated: the same for each component, since nothing tells them apart
    estimated = uneven_variance(images, projected.power, 5, None)
    assert estimated is None and found(None) is None


def test_no_noise_is_even():
    images = np.ones((1, *FRAME), np.float32)
    assert uneven_variance(images, np.ones(FRAME, np.float32), 8, None) is None
