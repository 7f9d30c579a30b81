import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.risk.splitting import Split
from tvjax.symmetry.fallback import certainty, find_fallback

SHAPE = (60, 200)


def position():
    """Four rings of fifty columns."""
    return np.broadcast_to(np.arange(SHAPE[1]) / 50, SHAPE)


def fall_back(symmetric, own, parts):
    ones = np.ones(SHAPE)
    return find_fallback(
        symmetric, own, parts, level=ones, share=ones, position=position()
    )


def pair(rng, sigma):
    held_out = jnp.asarray(10 + sigma * rng.standard_normal(SHAPE))
    variance = jnp.full(SHAPE, sigma**2)
    return Split(held_out, held_out, variance, jnp.ones(SHAPE, bool), 0.9)


def test_independent_errors_are_weighed_by_their_variances():
    rng = np.random.default_rng(0)
    symmetric = 10 + 0.5 * rng.standard_normal(SHAPE)
    own = 10 + rng.standard_normal(SHAPE)
    found = fall_back(symmetric, own, pair(rng, 3.0))
    # μ = 1/(1 + 1/4), and its scatter over the frame is 3/√(12000 · 1.25) = 2.4 %
    np.testing.assert_allclose(found.share.mean(), 0.8, atol=0.1)
    assert found.risk == pytest.approx(0.2, abs=0.25)  # 9 √(2/12000), twice
    assert found.helps


def test_a_ring_where_the_symmetry_is_broken_goes_to_the_own_estimate():
    rng = np.random.default_rng(1)
    symmetric = np.full(SHAPE, 10.0)
    symmetric[:, 150:] += rng.choice([-5, 5], (SHAPE[0], 50))
    own = 10 + rng.standard_normal(SHAPE)
    found = fall_back(symmetric, own, pair(rng, 2.0))
    assert found.share[:, :100].mean() > 0.8
    assert found.share[:, 180:].mean() < 0.15
    assert found.helps


def test_what_brings_nothing_does_not_help():
    rng = np.random.default_rng(2)
    own = np.full(SHAPE, 10.0)
    symmetric = own + rng.choice([-3, 3], SHAPE)
    certain = [fall_back(symmetric, own, pair(rng, 3.0)).helps for _ in range(50)]
    assert not any(certain)


def test_certainty_of_what_is_no_nearer_is_a_standard_normal_deviate():
    rng = np.random.default_rng(3)
    truth = 10 * rng.random(SHAPE)
    apart = rng.standard_normal(SHAPE) * (truth > 1)
    known = np.broadcast_to(np.arange(SHAPE[1]) < 150, SHAPE)
    weight, variance = np.where(known, 1 / truth, 0), truth
    found = []
    for _ in range(400):
        held_out = np.where(known, rng.normal(truth, np.sqrt(variance)), np.nan)
        before, after = truth + apart, truth - apart
        found.append(certainty(before, after, held_out, weight, variance))
    # standard errors 0.05 and 0.035
    assert np.mean(found) == pytest.approx(0, abs=0.2)
    assert np.std(found) == pytest.approx(1, abs=0.15)
