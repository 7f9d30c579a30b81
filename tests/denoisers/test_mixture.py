import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tests import reference
from tvjax.denoisers import Mixture
from tvjax.denoisers.mixture import identity
from tvjax.noise import Gaussian
from tvjax.risk import mixture_coefficients

KEY = jax.random.key(0)


@eqx.filter_jit
def run(denoiser, y):
    return denoiser(jnp.asarray(y))


def shrink(y):
    return 0.5 * y


def test_mixture_is_the_weighted_sum():
    y = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
    mixture = Mixture((identity, shrink), [0.3, 0.4])
    np.testing.assert_allclose(mixture(y), 0.3 * y + 0.4 * 0.5 * y, rtol=1e-6)
    with pytest.raises(
        ValueError, match="`coefficients` must be one for each of the 2 members"
    ):
        Mixture((identity, shrink), [1.0])


def test_coefficient_of_the_identity_alone_is_the_wiener_factor():
    y = jnp.asarray(np.random.default_rng(1).normal(0, 3, (64, 64)), jnp.float32)
    (coefficient,) = mixture_coefficients((identity,), y, Gaussian(1.0), key=KEY)
    # the divergence of the identity is exact along any direction of signs
    np.testing.assert_allclose(coefficient, 1 - 1 / np.mean(np.square(y)), rtol=1e-3)


def test_no_coefficients_have_less_error_than_those_of_least_risk():
    truth = 5 * np.tile(reference.scene(32, 32), (2, 2))
    y = jnp.asarray(truth + np.random.default_rng(2).normal(size=truth.shape))
    tv = tvjax.TV(0.6)
    coefficients = np.asarray(
        mixture_coefficients((identity, tv), y, Gaussian(1.0), key=KEY)
    )
    members = np.stack([y, run(tv, y)])

    def error(coefficients):
        return np.mean((np.tensordot(coefficients, members, 1) - truth) ** 2)

    flat = members.reshape(2, -1)
    oracle = np.linalg.solve(flat @ flat.T, flat @ truth.ravel())
    # the divergence is estimated along one direction
    assert error(coefficients) < 1.02 * error(oracle)
    assert error(coefficients) < error([0, 1]) < error([1, 0])


def test_invalid_pixels_have_no_influence():
    mask = np.random.default_rng(3).random((16, 16)) < 0.8
    y = np.random.default_rng(4).normal(0, 3, (16, 16))
    found = [
        mixture_coefficients(
            (identity, shrink_less),
            jnp.asarray(z),
            Gaussian(1.0),
            key=KEY,
            mask=jnp.asarray(mask),
        )
        for z in (y, np.where(mask, y, np.nan))
    ]
    np.testing.assert_array_equal(*found)


def shrink_less(y):
    return jnp.tanh(y)


def test_invalid_pixels_of_a_mixture_come_back_as_they_are():
    mask = np.random.default_rng(3).random((6, 5)) < 0.8
    y = jnp.where(mask, np.random.default_rng(4).normal(0, 3, (6, 5)), jnp.nan)
    mixture = Mixture((identity, shrink), [0.3, 0.4], mask=mask)
    x = mixture(y)
    np.testing.assert_allclose(x[mask], 0.5 * y[mask], rtol=1e-6)
    np.testing.assert_array_equal(x[~mask], y[~mask])
    slope = jax.grad(lambda mixture: jnp.sum(jnp.where(mask, mixture(y), 0)))(mixture)
    np.testing.assert_allclose(
        slope.coefficients, np.sum(y[mask]) * np.asarray([1, 0.5]), rtol=1e-4
    )
