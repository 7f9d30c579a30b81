import numpy as np
import pytest
from scipy.ndimage import convolve

from tvjax.noise.blocks import block_statistics
from tvjax.noise.correlation import autocovariance, kernel_of, REACH, WINDOW
from tvjax.noise.sample import take_sample

KERNEL = np.asarray([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 6.0  # of unit norm
AUTO = np.asarray([1, 4, 6, 4, 1]) / 6.0


def windows(y, mask=None):
    sample = take_sample(y, mask)
    return sample, block_statistics(sample, WINDOW)


def correlated(shape, seed=0):
    white = np.random.default_rng(seed).normal(size=shape)
    return convolve(white, KERNEL, mode="wrap")


def expected():
    """The autocovariance of the kernel, from its definition."""
    full = np.zeros((2 * REACH + 1,) * 2)
    full[REACH - 2 : REACH + 3, REACH - 2 : REACH + 3] = np.outer(AUTO, AUTO) / 36 * 36
    return full


def test_autocovariance_is_that_of_the_kernel_though_planes_are_taken_out():
    sample, blocks = windows(3 * correlated((512, 512)))
    found, share = autocovariance(sample, blocks, np.full(len(blocks.mean), 9.0))
    # choosing quiet windows takes a few per cent; 1,024 windows have two more
    np.testing.assert_allclose(found, expected(), atol=0.08)
    assert share > 0.5


def test_structure_elsewhere_does_not_matter():
    y = correlated((512, 512))
    y[:256] += 20 * np.random.default_rng(1).normal(size=(256, 512))
    sample, blocks = windows(y)
    found, share = autocovariance(sample, blocks, np.ones(len(blocks.mean)))
    np.testing.assert_allclose(found, expected(), atol=0.12)
    assert share <= 0.5


def test_kernel_has_its_autocovariance():
    deviation, kernel = kernel_of(4 * expected())
    assert deviation == pytest.approx(2)
    assert (kernel**2).sum() == pytest.approx(1)
    middle = kernel[REACH - 1 : REACH + 2, REACH - 1 : REACH + 2]
    # far lags fade, by up to 2/25 where the kernel has any
    np.testing.assert_allclose(middle, KERNEL, atol=0.04)


def test_white_noise_has_a_kernel_of_one_pixel():
    single = np.zeros_like(expected())
    single[REACH, REACH] = 9
    deviation, kernel = kernel_of(single)
    assert deviation == pytest.approx(3)
    np.testing.assert_allclose(kernel, single / 9, atol=1e-12)


def test_without_a_whole_window_nothing_is_known():
    mask = np.ones((64, 64), bool)
    mask[::4, ::4] = False
    sample, blocks = windows(correlated((64, 64)), mask)
    found, share = autocovariance(sample, blocks, np.ones(len(blocks.mean)))
    assert np.isnan(found).all() and share == 0
