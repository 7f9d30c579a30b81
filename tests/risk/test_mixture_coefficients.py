import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.risk.mixture_coefficients import least_risk_coefficients


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    scene = 100 * rng.normal(size=(40, 40))
    images = scene * np.array([1, 0.5, -0.2])[:, None, None]
    images = images + 30 * rng.normal(size=images.shape)
    return images, scene + rng.normal(size=scene.shape), np.array([1600.0, 800, 90])


def risk(coefficients, images, y, divergences):
    distance = np.sum((np.tensordot(coefficients, images, 1) - y) ** 2)
    return distance + 2 * coefficients @ divergences


@pytest.mark.parametrize("similar", [False, True])
def test_no_other_coefficients_have_less_risk(problem, similar):
    with jax.enable_x64(True):
        images, y, divergences = map(jnp.asarray, problem)
        found = least_risk_coefficients(images, y, divergences, 1.0, similar=similar)
    found = np.asarray(found)
    rng = np.random.default_rng(1)
    least = risk(found, *problem)
    for _ in range(20):
        assert least < risk(found + 0.01 * rng.normal(size=3), *problem)


def test_similar_images_are_told_apart_that_differ_by_little():
    # of a thousand times the noise, in single precision
    rng = np.random.default_rng(2)
    scene = 1e4 * rng.normal(size=(64, 64))
    noise = rng.normal(size=(3, 64, 64))
    y = scene + noise[0]
    images = np.stack([y, scene + 0.1 * noise[1]])
    found = least_risk_coefficients(
        jnp.asarray(images, jnp.float32),
        jnp.asarray(y, jnp.float32),
        jnp.asarray([64.0**2, 0], jnp.float32),
        1.0,
        similar=True,
    )
    np.testing.assert_allclose(found, [0, 1], atol=0.05)


def test_an_image_of_no_power_has_no_part():
    y = jnp.ones((8, 8))
    images = jnp.stack([y, 1e-12 * y, 0 * y])
    found = least_risk_coefficients(images, y, jnp.array([0.0, -1, -1]), 1e-3)
    assert jnp.isfinite(found).all()
    # the floor of ten variances, spread over 64 pixels of power one
    assert float(found[0]) == pytest.approx(1, abs=0.1)
