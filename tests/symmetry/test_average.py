import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.simulate import add_spot, scattering_pattern
from tvjax.symmetry import judge_symmetry, orbit_mean
from tvjax.symmetry.average import Average, average_by, no_average
from tvjax.symmetry.groups import find_group

SHAPE = (96, 104)
POISSON = tvjax.Poisson()
FRIEDEL = find_group("friedel")


@pytest.fixture
def y():
    return jnp.asarray(np.random.default_rng(0).poisson(2.0, (9, 10)), jnp.float32)


@pytest.fixture
def mask():
    return jnp.asarray(np.random.default_rng(1).random((9, 10)) > 0.2)


def average(share, mask, shading=1.0):
    nowhere = jnp.zeros(mask.shape, bool)
    full = jnp.ones(mask.shape)
    return Average(
        share * full, shading * full, mask, nowhere, nowhere, (4.0, 4.5), FRIEDEL
    )


def test_all_of_the_mean_is_the_orbit_mean(y, mask):
    found = average(1.0, mask)(y)
    orbit = orbit_mean(y, group="friedel", centre=(4.0, 4.5), mask=mask)
    np.testing.assert_allclose(found.image, orbit.mean, rtol=1e-6)
    np.testing.assert_allclose(found.factor, orbit.variance, rtol=1e-6)
    np.testing.assert_array_equal(found.mask, orbit.mask)


def test_no_average_is_the_data_themselves(y, mask):
    found = no_average(mask)(y)
    np.testing.assert_array_equal(found.image, jnp.where(mask, y, 0))
    np.testing.assert_array_equal(found.factor, mask.astype(y.dtype))
    np.testing.assert_array_equal(found.mask, mask)


def test_the_average_is_linear_and_has_the_variance_that_it_says(mask):
    rng = np.random.default_rng(2)
    mixed = average(0.3, mask, shading=1.2)
    a, b = (jnp.asarray(rng.normal(size=mask.shape), jnp.float32) for _ in range(2))
    left, right = mixed(2 * a + b).image, 2 * mixed(a).image + mixed(b).image
    np.testing.assert_allclose(left, right, atol=1e-5)
    plain = average(0.3, mask)
    draws = [
        plain(jnp.asarray(rng.normal(size=mask.shape), jnp.float32)).image
        for _ in range(1500)
    ]
    seen = np.asarray(plain(a).mask)
    ratio = np.var(draws, axis=0)[seen] / plain(a).factor[seen]
    # 1500 draws: a relative error of 3.7 % in each pixel, and less on average
    np.testing.assert_allclose(ratio, 1, atol=0.2)
    np.testing.assert_allclose(ratio.mean(), 1, atol=0.03)


@pytest.mark.slow
def test_a_broken_orbit_keeps_its_own_image():
    plain = scattering_pattern("fibre", SHAPE, mean=2.0)
    place = (30, 20)
    pattern = add_spot(plain, place, 12 * plain.truth[28:33, 18:23].sum() ** 0.5, 1.2)
    counts = pattern.counts(0)
    found = judge_symmetry(
        counts,
        group="friedel",
        centre=plain.centre,
        noise=POISSON,
        mask=plain.mask,
    )
    measure = average_by(found, jnp.asarray(plain.mask))
    averaged = measure(jnp.asarray(counts, jnp.float32))
    ghost = tuple(int(2 * c - p) for c, p in zip(plain.centre, place, strict=True))
    assert averaged.image[place] == counts[place]
    assert averaged.image[ghost] == counts[ghost]
    assert measure.spot[place] and not measure.spot[ghost]
    assert measure.group is found.group
