from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tvjax.metrics import correlation, mse, psnr

TRUTH = np.arange(12.0).reshape(3, 4)


def test_mse_of_a_constant_offset_is_its_square():
    assert mse(TRUTH + 3, TRUTH) == 9


def test_psnr_is_twenty_decibels_per_factor_of_ten():
    np.testing.assert_allclose(psnr(TRUTH + 0.1, TRUTH, peak=1.0), 20, rtol=1e-5)


def test_correlation_ignores_gain_and_offset():
    np.testing.assert_allclose(correlation(2 * TRUTH + 5, TRUTH), 1, rtol=1e-6)
    np.testing.assert_allclose(correlation(-TRUTH, TRUTH), -1, rtol=1e-6)


def test_correlation_agrees_with_numpy():
    x = np.sin(TRUTH)
    expected = np.corrcoef(x.ravel(), TRUTH.ravel())[0, 1]
    np.testing.assert_allclose(correlation(x, TRUTH), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "metric",
    [mse, partial(psnr, peak=2.0), correlation],
    ids=["mse", "psnr", "correlation"],
)
def test_invalid_pixels_change_neither_value_nor_gradient(metric):
    mask = TRUTH != 5
    x = np.sin(TRUTH)
    spoiled = np.where(mask, x, np.nan)
    expected = metric(x[mask], TRUTH[mask])
    np.testing.assert_allclose(metric(spoiled, TRUTH, mask), expected, rtol=1e-6)
    gradient = jax.grad(metric)(jnp.asarray(spoiled), TRUTH, mask)
    assert np.all(np.isfinite(gradient)) and gradient[1, 1] == 0


def test_integers_are_compared_by_value():
    x = np.asarray([[1, 2]], np.uint32)
    assert mse(x, x + np.uint32(2)) == 4
    assert mse(x + np.uint32(2), x) == 4


def test_images_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        mse(TRUTH, TRUTH[:2])
