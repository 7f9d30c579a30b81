import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tests import reference


def noisy(shape=(12, 10)):
    truth = 5 * reference.scene(*shape[-2:])
    noise = np.random.default_rng(0).normal(size=shape)
    return jnp.asarray(truth + noise, jnp.float32)


def test_tv_is_the_solution_of_the_problem():
    mask = np.random.default_rng(1).random((12, 10)) < 0.8
    y = noisy()
    for norm in ("isotropic", "anisotropic"):
        tv = tvjax.TV(0.7, mask=mask, tol=1e-4, norm=norm)
        expected = tvjax.solve(y, tv.alpha, mask=mask, tol=1e-4, norm=norm).image
        # the same steps; a logarithm and its inverse apart
        np.testing.assert_allclose(tv(y), expected, atol=1e-4)


def test_strength_is_held_as_its_logarithm():
    tv = tvjax.TV(0.25)
    np.testing.assert_allclose(tv.log_alpha, np.log(0.25))
    np.testing.assert_allclose(tv.alpha, 0.25, rtol=1e-6)
    assert jax.tree.leaves(eqx.filter(tv, eqx.is_inexact_array)) == [tv.log_alpha]


def test_slope_in_the_logarithm_is_alpha_times_the_slope_in_alpha():
    y = noisy()

    def by_logarithm(tv):
        return jnp.sum(tv(y) ** 2)

    def by_strength(alpha):
        return jnp.sum(tvjax.solve(y, alpha).image ** 2)

    slope = eqx.filter_grad(by_logarithm)(tvjax.TV(0.7)).log_alpha
    np.testing.assert_allclose(slope, 0.7 * jax.grad(by_strength)(0.7), rtol=1e-3)


def test_strengths_and_images_are_batched_together():
    alphas = jnp.asarray([0.2, 0.7, 2.0])
    y = noisy()
    tvs = jax.vmap(tvjax.TV)(alphas)
    images = eqx.filter_vmap(lambda tv: tv(y))(tvs)
    for alpha, image in zip(alphas, images, strict=True):
        # roundings of the steps, in another order
        np.testing.assert_allclose(image, tvjax.TV(alpha)(y), atol=1e-3)


def test_volumes_and_lines_are_images_too():
    for shape in ((4, 5, 6), (1, 30)):
        y = noisy(shape)
        expected = reference.rof(y, 0.7, num_steps=10_000)
        # ‖y − y*‖² ≤ 1e-4 of an objective below 120
        assert np.linalg.norm(tvjax.TV(0.7)(y) - expected) < np.sqrt(1e-4 * 120)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, np.asarray([1.0, -2.0])])
def test_only_a_positive_strength_is_held(alpha):
    with pytest.raises(ValueError, match="`alpha` must be positive, got"):
        tvjax.TV(alpha)
