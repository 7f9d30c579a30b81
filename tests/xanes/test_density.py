import jax
import numpy as np
import pytest

from tests.xanes.edges import (
    exact,
    optical_density,
    PIXELS,
)
from tvjax import xanes


def test_density_is_what_the_beam_lost(dtype):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 3, (5, *PIXELS))
    light = rng.uniform(500, 900, 5)
    dark = rng.uniform(90, 110, PIXELS)
    whole = np.broadcast_to(light[:, None, None], truth.shape)
    sample = (whole * np.exp(-truth) + dark).astype(dtype)
    exactly = {"sample_variance": 0.0, "flat_variance": 0.0}
    found = optical_density(sample, (whole + dark).astype(dtype), dark=dark, **exactly)
    assert found.density.dtype == dtype and found.mask.all()
    # subtraction of the dark loses a factor of counts over the light that is left
    np.testing.assert_allclose(found.density, truth, **exact(dtype, 10))
    found = optical_density(sample, light.astype(dtype), **exactly)
    np.testing.assert_allclose(found.density, -np.log(sample / whole), **exact(dtype))


def test_variance_of_the_density_is_that_of_repeated_counts():
    rng = np.random.default_rng(1)
    sample = rng.poisson(np.full((2, 20_000), [[400.0], [2000.0]]))
    flat = rng.poisson(np.full((2, 20_000), 3000.0)) + 100
    found = optical_density(sample, flat, dark=0)
    expected = np.var(np.asarray(found.density), axis=1)
    # 1 % of a variance of 20000 draws, and a bias of two over the counts
    np.testing.assert_allclose(found.variance.mean(1), expected, rtol=0.035)
    given = optical_density(
        sample, flat, dark=100, sample_variance=4 * sample, flat_variance=9.0
    )
    np.testing.assert_allclose(
        given.variance, 4 * sample / (sample - 100) ** 2 + 9 / (flat - 100) ** 2, 1e-5
    )


def test_density_of_few_photons_has_no_bias():
    rng = np.random.default_rng(2)
    sample = rng.poisson(np.full((1, 100_000), 15.0))
    flat = rng.poisson(np.full((1, 100_000), 40.0))
    found = optical_density(sample, flat)
    # without half a photon 0.022 too much
    scatter = np.std(found.density) / 100_000**0.5
    assert abs(np.mean(found.density) - np.log(40 / 15)) < 0.003 + 3 * scatter


def test_pixels_without_light_are_invalid_and_have_no_nan():
    sample = np.asarray([[10, 100, 90, 300, 400]], np.uint16)
    flat = np.asarray([[500, 500, 90, 90, 500]], np.uint16)
    mask = np.asarray([True, True, True, True, False])
    found = optical_density(sample, flat, dark=np.uint16(99), mask=mask)
    np.testing.assert_array_equal(found.mask, [[False, True, False, False, False]])
    only = np.log((401 + 500 / 802) / 1.5)
    np.testing.assert_allclose(found.density, [[0, only, 0, 0, 0]], rtol=1e-6)
    assert np.all(np.asarray(found.variance)[~found.mask] == 0)
    spoiled = np.asarray([[0.0, -1, np.nan, np.inf, 5]], np.float32)
    found = optical_density(spoiled, 10.0)
    np.testing.assert_array_equal(found.mask, [[False] * 4 + [True]])
    assert np.isfinite(found.density).all() and np.isfinite(found.variance).all()
    gradient = jax.grad(lambda s: xanes.optical_density(s, 10.0).density.sum())(spoiled)
    # of −ln(s + ½)
    np.testing.assert_allclose(gradient, [[0, 0, 0, 0, -1 / 5.5]], rtol=1e-6)


def test_counts_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="`flat` must be a scalar .* got shape \\(7,"):
        optical_density(np.ones((5, 3)), np.ones(7))
    with pytest.raises(ValueError, match="`sample` must have an axis of energies"):
        optical_density(1.0, 1.0)
