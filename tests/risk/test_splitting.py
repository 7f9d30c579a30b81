from functools import partial

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tests import reference
from tvjax.noise import Correlated, Gaussian, Poisson, PoissonGaussian
from tvjax.risk import held_out_error, split
from tvjax.risk.splitting import (
    are_whole_counts,
    couple,
    deal,
    draw_noise,
    expected_variance,
    thin,
)

KEY = jax.random.key(0)
SHAPE = (20, 20)
TRUTH = 4 * reference.scene(*SHAPE)


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


@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_mean_of_the_held_out_error_is_the_error_of_the_seen_share(kind):
    truth = jnp.asarray(TRUTH / 4, jnp.float32)
    noise = Gaussian(0.8) if kind == "gaussian" else Poisson()
    tv = tvjax.TV(0.8, tol=1e-3)

    def excess(key):
        of_noise, of_split = jax.random.split(key)
        if kind == "gaussian":
            y = truth + 0.8 * jax.random.normal(of_noise, SHAPE)
            parts = couple(y, draw_noise(jnp.full(SHAPE, 0.64), of_split), fraction=0.7)
        else:
            y = jax.random.poisson(of_noise, truth).astype(jnp.float32)
            parts = thin(y, noise, key=of_split, fraction=0.7)
        error = jnp.mean((tv(parts[0]) - truth) ** 2)
        # what does not depend on the denoiser: its mean is known to be zero
        off = parts[1] - truth
        variance = noise.variance(parts[1] if kind == "poisson" else y) / 0.3
        common = jnp.mean(off**2 - variance + 2 * off * truth)
        value = split(tv, y, noise, key=of_split, fraction=0.7)
        return value - error - common, error

    off, error = jax.jit(partial(jax.lax.map, excess, batch_size=50))(
        jax.random.split(KEY, 200)
    )
    off = np.asarray(off, np.float64)
    mean, spread = off.mean(), off.std(ddof=1) / np.sqrt(len(off))
    assert abs(mean) < 4 * spread
    assert spread < 0.15 * error.mean()


def test_held_out_error_is_the_mean_square_less_the_variance():
    f, held_out = jnp.asarray([1.0, 2.0, 7.0]), jnp.asarray([3.0, 2.0, np.nan])
    variance = jnp.asarray([0.5, 1.0, 1.0])
    mask = jnp.asarray([True, True, False])
    value = held_out_error(f, held_out, variance, mask, jnp.asarray([2.0, 1.0, 1.0]))
    assert value == (2 * (4 - 0.5) + (0 - 1)) / 2


COUNTS = jnp.asarray(np.random.default_rng(1).poisson(3.0, (32, 40)), jnp.float32)
MASK = jnp.asarray(np.random.default_rng(2).random((32, 40)) < 0.8)


def test_whole_counts_are_dealt_out_photon_by_photon():
    parts = deal(2 * COUNTS, Poisson(2.0), key=KEY, fraction=0.75)
    expected = thin(2 * COUNTS, Poisson(2.0), key=KEY, fraction=0.75)
    np.testing.assert_array_equal((parts.seen, parts.held_out), expected)
    # the variance of what is held out, from itself: never from what is seen
    np.testing.assert_allclose(parts.variance, 2 * parts.held_out / 0.25, rtol=1e-6)
    assert parts.fraction == 0.75 and parts.mask is None and parts.valid.all()


@pytest.mark.parametrize(
    "noise", [Gaussian(1.5), Poisson(0.3), PoissonGaussian(1.0, 2.0, -5.0)]
)
def test_other_data_are_split_by_another_draw_of_their_noise(noise):
    y = jnp.where(MASK, 3 + jax.random.normal(KEY, MASK.shape), 0)
    parts = deal(y, noise, key=KEY, mask=MASK, fraction=0.9)
    variance = expected_variance(y, noise, MASK)
    expected = couple(y, draw_noise(variance, KEY), fraction=0.9)
    np.testing.assert_array_equal((parts.seen, parts.held_out), expected)
    np.testing.assert_allclose(parts.variance, variance / 0.1, rtol=1e-5)
    np.testing.assert_array_equal(parts.valid, MASK)
    # the seen part and the held-out one, by their shares, are the whole
    whole = 0.9 * parts.seen + 0.1 * parts.held_out
    np.testing.assert_allclose(whole, y, atol=1e-5)


def test_a_draw_of_the_noise_may_be_given():
    other = jax.random.normal(KEY, (3, *COUNTS.shape))
    y = jnp.stack([COUNTS] * 3)
    parts = deal(y, Gaussian(1.0), key=KEY, other=other)
    expected = couple(y, other, fraction=0.9)
    np.testing.assert_array_equal((parts.seen, parts.held_out), expected)


def test_correlated_noise_is_dealt_out_with_its_correlation():
    noise = Correlated(2.0, np.ones((1, 3)))
    y = noise.draw(jnp.zeros((128, 128)), jax.random.key(4))
    parts = deal(y, noise, key=KEY)
    np.testing.assert_allclose(parts.variance, 4 / 0.1, rtol=1e-5)
    # the two parts are independent, at the neighbor, too; 16,384 pixels, a third count
    for lag in (0, 1):
        one = parts.seen[:, lag:].ravel()
        other = parts.held_out[:, : 128 - lag].ravel()
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / (16384 / 3) ** 0.5
    # and each is correlated as the noise is
    beside = np.corrcoef(parts.held_out[:, 1:].ravel(), parts.held_out[:, :-1].ravel())
    assert beside[0, 1] == pytest.approx(2 / 3, abs=0.03)


def test_variance_is_that_of_the_local_mean_and_never_negative():
    step = jnp.where(jnp.arange(40) < 20, 1.0, 9.0) * jnp.ones((32, 1))
    found = expected_variance(step, Poisson(2.0))
    np.testing.assert_allclose(found[:, 0], 2, rtol=1e-6)
    np.testing.assert_allclose(found[:, -1], 18, rtol=1e-6)
    # half of nine columns on each side, and the middle one
    np.testing.assert_allclose(found[:, 20], 2 * (4 * 1 + 5 * 9) / 9, rtol=1e-6)
    below = expected_variance(-step, PoissonGaussian(1.0, 0.5))
    assert below.min() == 0
    each = expected_variance(jnp.stack([step, 2 * step]), Poisson(2.0))
    np.testing.assert_allclose(each, jnp.stack([found, 2 * found]), rtol=1e-6)


def test_only_whole_multiples_of_the_gain_are_counts():
    assert are_whole_counts(COUNTS, Poisson(), None)
    assert are_whole_counts(2.5 * COUNTS, Poisson(2.5), None)
    assert not are_whole_counts(COUNTS + 0.5, Poisson(), None)
    assert not are_whole_counts(COUNTS - 1, Poisson(), None), "none is negative"
    assert not are_whole_counts(COUNTS, Gaussian(1.0), None)
    assert not are_whole_counts(COUNTS, Poisson(0.0), None)
    spoiled = jnp.where(MASK, COUNTS, jnp.nan)
    assert are_whole_counts(spoiled, Poisson(), MASK)
    assert not are_whole_counts(spoiled, Poisson(), None)


def test_a_split_judges_what_is_made_of_its_seen_part():
    parts = deal(COUNTS, Poisson(), key=KEY, mask=MASK)
    weights = jnp.where(COUNTS > 2, 2.0, 0.5)
    f = 0.8 * parts.seen
    expected = held_out_error(f, parts.held_out, parts.variance, MASK, weights)
    assert parts.error(f, weights) == expected
    risk = split(
        lambda y: 0.8 * y, COUNTS, Poisson(), key=KEY, mask=MASK, weights=weights
    )
    np.testing.assert_allclose(risk, expected, rtol=1e-6)


def test_noise_that_cannot_be_split_is_named():
    with pytest.raises(ValueError, match="`split` is for Poisson, Gaussian or Corr"):
        split(lambda y: y, COUNTS, PoissonGaussian(1.0, 1.0), key=KEY)
