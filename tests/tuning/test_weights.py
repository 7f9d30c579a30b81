import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.noise import Gaussian, Poisson, PoissonGaussian
from tvjax.tuning.weights import inverse_variance, LEAST

SHAPE = (1, 128, 128)


def counts(mean, seed=0):
    drawn = np.random.default_rng(seed).poisson(mean, SHAPE)
    return jnp.asarray(drawn, jnp.float32)


@pytest.mark.parametrize("mean", [0.02, 0.3, 5.0, 300.0])
def test_a_flat_field_weighs_alike_everywhere_by_one_over_its_variance(mean):
    weights = np.asarray(inverse_variance(counts(mean), Poisson(), None))
    np.testing.assert_allclose(np.median(weights), 1 / mean, rtol=0.15)
    # 25 counts make a mean that is known to a fifth; few are five deviations off
    assert np.quantile(weights * mean, 0.999) < 2.01
    assert weights.min() * mean > 0.4


def test_one_photon_in_an_empty_field_does_not_lose_its_weight():
    y = jnp.zeros(SHAPE).at[0, 64, 64].set(1.0).at[0, 10, 10].set(1.0)
    weights = np.asarray(inverse_variance(y, Poisson(), None))
    np.testing.assert_allclose(weights[0, 64, 64], weights[0, 100, 20], rtol=1e-6)


def test_a_spot_weighs_by_its_own_noise_and_its_field_does_not_follow():
    y = counts(1.0).at[0, 60:63, 60:63].set(400.0)
    weights = np.asarray(inverse_variance(y, Poisson(), None))
    np.testing.assert_allclose(weights[0, 61, 61], 1 / 400, rtol=0.01)
    assert weights[0, 61, 75] > 0.5  # beyond the narrow squares


def test_a_shadow_does_not_outweigh_the_field():
    y = counts(4.0).at[0, 40:90, 40:90].set(0.0)
    weights = np.asarray(inverse_variance(y, Poisson(), None))
    assert weights.max() <= 1.05 / (LEAST * 4.0 * (1 - 50**2 / 128**2) * 0.9)


def test_a_hot_pixel_moves_no_weight_but_those_beside_it():
    calm = counts(1.0)
    hot = calm.at[0, 30, 30].set(4e9)
    before, after = (
        np.array(inverse_variance(y, Poisson(), None)[0]) for y in (calm, hot)
    )
    near = np.s_[30 - 4 : 30 + 5, 30 - 4 : 30 + 5]
    before[near] = after[near] = 0
    np.testing.assert_allclose(before, after, rtol=0.05)


def test_invalid_pixels_weigh_nothing_and_change_nothing():
    mask = jnp.ones(SHAPE, bool).at[0, :20].set(False)
    y = counts(3.0)
    found = inverse_variance(y, Poisson(), mask)
    junk = inverse_variance(jnp.where(mask, y, 1e6), Poisson(), mask)
    assert not np.any(np.asarray(found)[0, :20])
    np.testing.assert_array_equal(found, junk)


def test_gaussian_levels_and_readout_noise_are_as_told():
    sigma = jnp.where(jnp.arange(128) < 64, 1.0, 2.0) * jnp.ones(SHAPE)
    found = inverse_variance(jnp.zeros(SHAPE), Gaussian(sigma), None)
    np.testing.assert_allclose(found, 1 / sigma**2, rtol=1e-6)
    mixed = PoissonGaussian(2.0, 3.0, 10.0)
    y = 10 + 2 * counts(50.0)
    found = inverse_variance(y, mixed, None)
    np.testing.assert_allclose(np.median(found), 1 / (4 * 50 + 9), rtol=0.05)


def test_weights_are_traceable():
    y = counts(2.0)
    once = jax.jit(lambda y: inverse_variance(y, Poisson(), None))(y)
    np.testing.assert_allclose(once, inverse_variance(y, Poisson(), None), rtol=1e-5)
