import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests.risk.test_singular import signal
from tvjax.stack.random_matrix import (
    independent_rows,
    largest_noise_value,
    largest_uneven_square,
    noise_level,
    singular_values_of_noise,
)


def test_noise_level_is_that_of_the_noise():
    for shape in ((4000, 60), (300, 200)):
        y = signal(3.0, shape) + 2.5 * np.random.default_rng(3).normal(size=shape)
        d = np.linalg.svd(y, compute_uv=False)
        # three of the values are the signal's
        np.testing.assert_allclose(noise_level(d, shape), 2.5, rtol=0.02)


def test_largest_value_of_noise_follows_the_law_of_tracy_and_widom():
    shape, rng = (300, 30), np.random.default_rng(5)
    d = [np.linalg.svd(rng.normal(size=shape), compute_uv=False)[0] for _ in range(200)]
    # quantiles of the law of Tracy and Widom for real matrices, in its own scale
    for quantile, x in ((0.5, -1.27), (0.9, 0.45), (0.99, 2.02)):
        share = np.mean(np.array(d) < largest_noise_value(shape, x))
        assert share == pytest.approx(quantile, abs=0.09)
    assert largest_noise_value(shape, 1.0) == largest_noise_value(shape[::-1], 1.0)


def test_largest_value_of_uneven_noise_is_as_expected():
    assert largest_uneven_square(np.ones(300), 30) == pytest.approx(
        largest_noise_value((300, 30)) ** 2
    )
    powers = np.linspace(0, 2, 800)
    rng, greatest = np.random.default_rng(6), []
    for _ in range(20):
        z = rng.normal(size=(800, 60))
        greatest.append(np.linalg.eigvalsh((z.T * powers) @ z)[-1])
    # finite matrices end a little before
    expected = largest_uneven_square(powers, 60)
    assert np.mean(greatest) == pytest.approx(expected, rel=0.03)


def test_correlated_rows_count_as_fewer():
    rng, shape = np.random.default_rng(7), (60, 50, 40)
    noise = rng.normal(size=shape)
    smooth = gaussian_filter(noise, (0.7, 0.7, 0))
    kernel = gaussian_filter(np.eye(9)[4][:, None] * np.eye(9)[4], 0.7)
    spectrum = np.abs(np.fft.fft2(kernel, shape[:2])) ** 2
    expected = np.mean(spectrum) ** 2 / np.mean(spectrum**2)
    signal = 20 * rng.normal(size=(*shape[:2], 5)) @ rng.normal(size=(5, shape[2]))
    for data, share in ((noise, 1.0), (smooth, expected), (smooth + signal, expected)):
        d = np.linalg.svd(data.reshape(-1, shape[2]), compute_uv=False)
        found = independent_rows(d, (3000, shape[2])) / 3000
        assert found == pytest.approx(share, rel=0.2)
    assert independent_rows(np.ones(40), (3000, 40)) == 3000


def test_noise_values_are_those_of_noise():
    shape, rng = (400, 50), np.random.default_rng(8)
    d = [np.linalg.svd(rng.normal(size=shape), compute_uv=False) for _ in range(20)]
    # the quantiles are those of large matrices: a percent off at the ends of these
    np.testing.assert_allclose(
        singular_values_of_noise(shape, 50), np.mean(d, axis=0), rtol=0.015
    )
    assert singular_values_of_noise(shape, 0).shape == (0,)


def test_rows_without_noise_are_all_independent():
    assert independent_rows(np.r_[9.0, np.zeros(14)], (400, 15)) == 400
