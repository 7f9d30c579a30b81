import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.noise import Poisson
from tvjax.risk.splitting import couple, draw_noise, thin

KEY = jax.random.key(0)


@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_two_measurements_made_of_one_are_independent(fraction):
    keys = jax.random.split(KEY, 2)
    truth = jnp.full((300, 300), 2.0)
    gain = 3.0
    photons = jax.random.poisson(keys[0], truth).astype(jnp.float32)
    white = truth + jax.random.normal(keys[0], truth.shape)
    parts = {
        "counts": (
            thin(gain * photons, Poisson(gain), key=keys[1], fraction=fraction),
            gain * 2.0,
            gain**2 * 2.0,
        ),
        "white": (
            couple(white, draw_noise(jnp.ones_like(white), keys[1]), fraction=fraction),
            2.0,
            1.0,
        ),
    }
    for (first, second), level, variance in parts.values():
        shares = np.asarray([fraction, 1 - fraction])
        both = np.stack([np.ravel(first), np.ravel(second)])
        size = both.shape[1]
        expected = variance / shares
        spread = np.sqrt(expected / size)
        assert np.all(abs(both.mean(1) - level) < 4 * spread)
        covariance = np.cov(both)
        # of a variance, with the kurtosis of few counts allowed for
        np.testing.assert_allclose(np.diag(covariance), expected, rtol=0.05)
        assert abs(covariance[0, 1]) < 5 * np.prod(spread) * np.sqrt(size)


def test_dealt_counts_are_whole_and_add_up():
    photons = jnp.asarray(np.random.default_rng(0).poisson(5, (40, 50)), jnp.float32)
    first, second = thin(2 * photons, Poisson(2.0), key=KEY, fraction=0.75)
    parts = np.stack([first * 0.75, second * 0.25]) / 2
    np.testing.assert_allclose(parts, np.round(parts), atol=1e-5)
    np.testing.assert_allclose(parts.sum(0), photons, atol=1e-5)
    assert parts.min() >= 0
