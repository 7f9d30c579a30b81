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
from tvjax.risk import let_weights

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
    with pytest.raises(ValueError, match="`weights` must be one a member, 2"):
        Mixture((identity, shrink), [1.0])


def test_weight_of_the_identity_alone_is_the_wiener_factor():
    y = jnp.asarray(np.random.default_rng(1).normal(0, 3, (64, 64)), jnp.float32)
    (weight,) = let_weights((identity,), y, Gaussian(1.0), key=KEY)
    # the divergence of the identity is exact along any direction of signs
    np.testing.assert_allclose(weight, 1 - 1 / np.mean(np.square(y)), rtol=1e-3)


def test_no_weights_have_less_error_than_those_of_least_risk():
    truth = 5 * np.tile(reference.scene(32, 32), (2, 2))
    y = jnp.asarray(truth + np.random.default_rng(2).normal(size=truth.shape))
    tv = tvjax.TV(0.6)
    weights = np.asarray(let_weights((identity, tv), y, Gaussian(1.0), key=KEY))
    members = np.stack([y, run(tv, y)])

    def error(weights):
        return np.mean((np.tensordot(weights, members, 1) - truth) ** 2)

    flat = members.reshape(2, -1)
    oracle = np.linalg.solve(flat @ flat.T, flat @ truth.ravel())
    # the divergence is estimated along one direction
    assert error(weights) < 1.02 * error(oracle)
    assert error(weights) < error([0, 1]) < error([1, 0])


def test_invalid_pixels_have_no_weight():
    mask = np.random.default_rng(3).random((16, 16)) < 0.8
    y = np.random.default_rng(4).normal(0, 3, (16, 16))
    found = [
        let_weights(
            (identity, shrink_less), jnp.asarray(z), Gaussian(1.0), key=KEY, mask=mask
        )
        for z in (y, np.where(mask, y, np.nan))
    ]
    np.testing.assert_array_equal(*found)


def shrink_less(y):
    return jnp.tanh(y)
