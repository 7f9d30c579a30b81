import numpy as np
import pytest

from tvjax.noise import Gaussian, Poisson
from tvjax.stack.blocks import (
    add_up,
    Blocks,
    project,
)
from tvjax.stack.pixel_noise import component_variances, follows_the_pixels

SHAPE = (5, 12, 7)


class Recorder:
    """A stack that remembers what was asked of it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.largest = 0

    def __getitem__(self, place):
        part = self.data[place]
        self.largest = max(self.largest, part.size)
        return part


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).uniform(1, 5, SHAPE).astype(np.float32)


def blocks(data, *, mask=None, memory=2**20, progress=lambda done, total: None):
    return Blocks(data, mask, memory, progress)


def test_passes_read_no_more_than_memory_allows_and_find_the_same(data):
    row = SHAPE[0] * SHAPE[2] * 12
    recorder = Recorder(data)
    few = blocks(recorder, memory=3 * row)
    whole = blocks(data)
    gram = add_up(few, None).gram
    assert recorder.largest == 3 * SHAPE[0] * SHAPE[2]
    matrix = data.reshape(5, -1).astype(float)
    np.testing.assert_allclose(gram, matrix @ matrix.T, rtol=1e-12)
    vectors, sigma = np.linalg.qr(matrix[:, :5])[0][:, :2], np.arange(1.0, 6.0)
    seen, expected = (project(b, vectors, sigma) for b in (few, whole))
    for one, other in zip(seen[:2], expected[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    whitened = data / sigma[:, None, None]
    np.testing.assert_allclose(
        seen.images, np.tensordot(vectors, whitened, (0, 0)), rtol=1e-4
    )
    np.testing.assert_allclose(seen.power, np.sum(whitened**2, axis=0), rtol=1e-5)


def test_variance_is_that_of_each_component(data):
    counts = np.abs(data)
    vectors, sigma = np.linalg.qr(np.ones((5, 2)) + np.eye(5, 2))[0], np.ones(5)
    few = blocks(counts, memory=1)
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


def test_invalid_pixels_count_nowhere(data):
    mask = np.random.default_rng(1).random(SHAPE[1:]) < 0.8
    spoiled = np.where(mask, data, np.nan)
    b = blocks(spoiled, mask=mask)
    matrix = data[:, mask].astype(float)
    sums = add_up(b, Poisson())
    np.testing.assert_allclose(sums.gram, matrix @ matrix.T, rtol=1e-6)
    np.testing.assert_allclose(sums.variance, matrix.mean(axis=1), rtol=1e-6)
    images = project(b, np.eye(5), np.ones(5)).images
    np.testing.assert_array_equal(images, np.where(mask, data, 0))


def test_progress_counts_both_passes(data):
    told = []
    b = blocks(data, memory=1, progress=lambda *pair: told.append(pair))
    add_up(b, None)
    project(b, np.eye(5), np.ones(5))
    assert told == [(row, 24) for row in range(1, 25)]


def test_noise_of_one_level_a_frame_does_not_follow_the_pixels():
    assert not follows_the_pixels(Gaussian(1.0))
    assert not follows_the_pixels(Gaussian(np.ones((5, 1, 1))))
    assert follows_the_pixels(Gaussian(np.ones(SHAPE)))
    assert follows_the_pixels(Poisson())
