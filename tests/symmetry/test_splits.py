import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.risk.splitting import deal
from tvjax.symmetry.average import Average, no_average
from tvjax.symmetry.groups import find_group
from tvjax.symmetry.splits import average_split, split_orbits

SHAPE = (40, 42)
CENTRE = (19.5, 20.5)
EVERYWHERE = jnp.ones(SHAPE, bool)


def average(name):
    none, full = jnp.zeros(SHAPE, bool), jnp.ones(SHAPE)
    centre = jnp.asarray(CENTRE)
    return Average(full, full, EVERYWHERE, none, none, centre, find_group(name))


def symmetric_truth():
    radius = np.hypot(*(np.indices(SHAPE) - np.reshape(CENTRE, (2, 1, 1))))
    return 5 + 4 * np.cos(radius / 3)


@pytest.mark.parametrize("name", ["friedel", "4", "azimuthal"])
def test_parts_of_the_data_are_unbiased_and_independent(name):
    rng, errors, products = np.random.default_rng(0), [], []
    truth, mean = symmetric_truth(), average(name)
    for seed in range(40):
        y = jnp.asarray(rng.poisson(truth), jnp.float32)
        split = deal(y, tvjax.Poisson(), mask=EVERYWHERE, key=jax.random.key(seed))
        found = average_split(split, mean, tvjax.Poisson())
        assert found.fraction == 0.9
        seen, held_out = found.seen - truth, found.held_out - truth
        errors.append(np.mean(held_out**2 - found.variance))
        products.append(np.mean(seen * held_out))
    # the variance is that of the part held out, whose product with the other is none
    for values in (errors, products):
        assert abs(np.mean(values)) < 4 * np.std(values) / 40**0.5 + 0.01


def test_data_without_a_symmetry_are_split_as_they_are():
    y = jnp.asarray(np.random.default_rng(1).poisson(3.0, SHAPE), jnp.float32)
    split = deal(y, tvjax.Poisson(), mask=EVERYWHERE, key=jax.random.key(0))
    found = average_split(split, no_average(EVERYWHERE), tvjax.Poisson())
    np.testing.assert_array_equal(found.seen, split.seen)
    np.testing.assert_array_equal(found.held_out, split.held_out)


@pytest.mark.parametrize(
    "name, fraction", [("friedel", 1 / 2), ("3", 1 / 3), ("azimuthal", 1 / 2)]
)
def test_halves_of_the_orbits_are_independent_for_any_noise(name, fraction):
    mean, rng = average(name), np.random.default_rng(2)
    noise = [jnp.asarray(rng.normal(size=SHAPE), jnp.float32) for _ in range(60)]
    found = [split_orbits(y, mean) for y in noise]
    assert found[0].fraction == pytest.approx(fraction)
    products = [float(jnp.mean(s.seen * s.held_out, where=s.mask)) for s in found]
    assert abs(np.mean(products)) < 4 * np.std(products) / 60**0.5


def test_the_variance_of_a_half_is_told_by_its_difference_from_the_other():
    mean, rng = average("4"), np.random.default_rng(3)
    noise = [jnp.asarray(rng.normal(size=SHAPE), jnp.float32) for _ in range(60)]
    found = [split_orbits(y, mean) for y in noise]
    variance = [float(jnp.mean(s.variance)) for s in found]
    # two of four members in each half, but for the corners that have fewer in the frame
    whole = [float(jnp.mean(s.held_out**2, where=s.mask)) for s in found]
    np.testing.assert_allclose(np.mean(variance), np.mean(whole), rtol=0.05)
    np.testing.assert_allclose(np.mean(variance), 1 / 2, atol=0.05)


def test_broken_orbits_judge_nothing():
    mean = average("friedel")
    share = mean.share.at[3:6, 4:9].set(0)
    broken = Average(
        share, mean.shading, mean.mask, mean.broken, mean.spot, CENTRE, mean.group
    )
    split = split_orbits(jnp.ones(SHAPE), broken)
    np.testing.assert_array_equal(split.mask, share > 0)
