import math
from functools import partial

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tests import reference
from tvjax.filters import local_mean
from tvjax.noise import Correlated, Gaussian, Poisson, PoissonGaussian
from tvjax.risk import pure, split, sugar, sure, with_error

KEY = jax.random.key(0)
SHAPE = (20, 20)
TRUTH = 4 * reference.scene(*SHAPE)


def draw(variance, seed=0):
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    return jnp.asarray(TRUTH + noise * np.sqrt(variance), jnp.float32)


def mean_and_error(values):
    values = np.asarray(values, np.float64)
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))


def pmf(rate, size):
    """Probabilities of 0, 1, … counts."""
    return np.asarray(
        [math.exp(k * math.log(rate) - rate - math.lgamma(k + 1)) for k in range(size)]
    )


@pytest.mark.parametrize("risk", [sure, sugar])
def test_risk_of_a_multiple_of_the_data_is_a_closed_form(risk, dtype):
    variance = 0.5 + TRUTH
    y = draw(variance).astype(dtype)
    noise = Gaussian(np.sqrt(variance))
    value = risk(lambda y: 0.9 * y, y, noise, key=KEY)
    assert value.dtype == dtype
    expected = np.mean(0.01 * np.asarray(y, np.float64) ** 2 + 0.8 * variance)
    # the probe's signs square to one; the finite step of 0.15 σ loses some digits
    rtol = 1e-4 if dtype == np.float32 else 1e-6
    np.testing.assert_allclose(value, expected, rtol=rtol)


def test_noise_models_are_interchangeable():
    y = draw(1.0)
    expected = np.mean(0.01 * y**2 + 0.8 * (0.5 * (y - 0.3) + 4))
    value = sure(lambda y: 0.9 * y, y, PoissonGaussian(0.5, 2.0, 0.3), key=KEY)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


@pytest.mark.parametrize("rate", [0.05, 0.6, 4.0])
def test_pure_of_a_pixelwise_function_is_exact_at_any_count(rate):
    # the expectation is the sum over all counts, with their probabilities as weights
    gain = 2.5
    y = gain * jnp.arange(40.0)
    probability = pmf(rate, 40)
    weights = jnp.asarray(probability * 40, jnp.float32)
    # of the two choices for each pixel, the mean: a photon is taken, or is not
    keys = jax.random.split(KEY, 20_000)

    def shrink(y):
        return jnp.where(y > 1, jnp.sqrt(y + 1), 0.2 * y + 0.1)

    def value(key):
        return pure(shrink, y, Poisson(gain), key=key, weights=weights, density=0.5)

    mean, spread = mean_and_error(jax.jit(partial(jax.lax.map, value))(keys))
    error = np.asarray(shrink(y), np.float64) - gain * rate
    expected = np.sum(probability * error**2)
    assert abs(mean - expected) < 4 * spread
    assert spread < 0.02 * expected  # or the line above would say little


@pytest.mark.parametrize(
    "variance",
    [np.full(SHAPE, 1.0), 0.2 + 2 * (TRUTH > 2)],
    ids=["white", "per-pixel"],
)
def test_mean_of_sure_is_the_mean_squared_error(variance):
    sigma = jnp.asarray(np.sqrt(variance), jnp.float32)
    truth = jnp.asarray(TRUTH, jnp.float32)
    noise, tv = Gaussian(sigma), tvjax.TV(0.8, tol=1e-3)

    def excess(key):
        of_noise, of_probe = jax.random.split(key)
        e = sigma * jax.random.normal(of_noise, SHAPE)
        y = truth + e
        risk = sure(tv, y, noise, key=of_probe)
        error = jnp.mean((tv(y) - truth) ** 2)
        # what does not depend on the denoiser: its mean is known to be zero
        common = jnp.mean(e**2 - sigma**2)
        return risk - error - common, error

    off, error = jax.jit(partial(jax.lax.map, excess, batch_size=50))(
        jax.random.split(KEY, 200)
    )
    mean, spread = mean_and_error(off)
    assert abs(mean) < 4 * spread
    assert spread < 0.05 * error.mean()  # or the line above would say little


def counts_excess(risk, rate, strength):
    truth = jnp.asarray(rate * TRUTH / TRUTH.mean(), jnp.float32)
    tv = tvjax.TV(strength * rate**0.5, tol=1e-3)

    def excess(key):
        of_noise, of_risk = jax.random.split(key)
        y = jax.random.poisson(of_noise, truth).astype(jnp.float32)
        value = risk(tv, y, Poisson(), key=of_risk)
        error = jnp.mean((tv(y) - truth) ** 2)
        common = jnp.mean(y**2 - y - 2 * y * truth + truth**2)
        return value - error - common, error

    off, error = jax.jit(partial(jax.lax.map, excess, batch_size=50))(
        jax.random.split(KEY, 400)
    )
    return *mean_and_error(off), error.mean()


# At a strength of twice the noise, the influence of the other photons is ten times that
# of a pixel's own.
@pytest.mark.parametrize("strength", [0.3, 2.0])
@pytest.mark.parametrize(
    "rate",
    [0.05, 3.0, *(pytest.param(r, marks=pytest.mark.slow) for r in (0.3, 30.0))],
)
def test_mean_of_pure_is_the_mean_squared_error_of_counts(rate, strength):
    mean, spread, error = counts_excess(pure, rate, strength)
    # many photons taken at once are not quite the sum of each
    assert abs(mean) < 3 * spread + 0.05 * error
    # a sixteenth of what the photons do to the data, where there are twenty of them
    assert spread < 0.06 * rate


def test_photons_of_other_pixels_have_no_part_in_pure():
    # a mean over everything: the share of a pixel's own photon is one in all pixels
    y = jnp.asarray(np.random.default_rng(4).poisson(TRUTH), jnp.float32)

    def value(key):
        return pure(lambda y: 0 * y + y.mean(), y, Poisson(), key=key)

    mean, spread = mean_and_error(jax.vmap(value)(jax.random.split(KEY, 4000)))
    y = np.asarray(y, np.float64)
    expected = np.mean((y - y.mean()) ** 2 - y) + 2 * np.mean(y) / y.size
    assert abs(mean - expected) < 4 * spread
    # the others' part would be the density times the mean, twice
    assert spread < 0.05 * 2 * y.mean() / 8


@pytest.mark.slow
def test_slope_of_sugar_is_the_slope_of_the_error():
    truth = jnp.asarray(TRUTH, jnp.float32)

    def slopes(log_alpha, key):
        of_noise, of_probe = jax.random.split(key)
        y = truth + jax.random.normal(of_noise, SHAPE)

        def risk(log_alpha):
            tv = tvjax.TV(jnp.exp(log_alpha), tol=1e-4)
            return sugar(tv, y, Gaussian(1.0), key=of_probe)

        def error(log_alpha):
            tv = tvjax.TV(jnp.exp(log_alpha), tol=1e-4)
            return jnp.mean((tv(y) - truth) ** 2)

        return jax.grad(risk)(log_alpha), jax.grad(error)(log_alpha)

    many = jax.jit(
        lambda log_alpha, keys: jax.lax.map(
            partial(slopes, log_alpha), keys, batch_size=50
        )
    )
    for alpha in (0.25, 2.5):
        estimate, true = many(jnp.log(alpha), jax.random.split(KEY, 100))
        off, spread = mean_and_error(np.asarray(estimate) - np.asarray(true))
        slope = np.mean(true)
        # the probe of 0.15 σ smooths: within 5 % where the slope is large
        assert abs(off) < 4 * spread + 0.05 * abs(slope)
        assert spread < 0.05 * abs(slope)


def test_gradient_of_sugar_is_that_of_its_value():
    with jax.enable_x64(True):
        y = draw(1.0).astype(jnp.float64)

        def risk(alpha):
            tangent = tvjax.solvers.Accuracy(tol=1e-8, max_steps=10_000)
            tv = tvjax.TV(alpha, tol=1e-11, tangent=tangent)
            return sugar(tv, y, Gaussian(1.0), key=KEY)

        slope = jax.jit(jax.grad(risk))(0.3)
        value = jax.jit(risk)
        expected = reference.central_difference(
            lambda alpha: float(value(alpha)), 0.3, 1.0, 1e-3
        )
    # regions that merge within the width
    np.testing.assert_allclose(slope, expected, rtol=0.02)


def test_slope_of_sure_is_that_of_sugar_however_the_denoiser_is_written():
    y = jnp.asarray(np.random.default_rng(5).poisson(TRUTH), jnp.float32)

    def slope(risk, denoiser):
        return jax.jit(jax.grad(lambda a: risk(denoiser(a), y, Poisson(), key=KEY)))(
            0.7
        )

    expected = slope(sugar, tvjax.TV)
    ways = tvjax.TV, lambda a: lambda y: tvjax.solve(y, a).image
    for denoiser in ways:
        np.testing.assert_allclose(slope(sure, denoiser), expected, rtol=1e-4)


@pytest.mark.parametrize("risk", [sure, sugar, pure, split])
def test_invalid_pixels_count_nowhere(risk):
    mask = np.random.default_rng(3).random(SHAPE) < 0.8
    counts = jnp.asarray(np.random.default_rng(4).poisson(TRUTH), jnp.float32)

    def value(log_alpha, y):
        tv = tvjax.TV(jnp.exp(log_alpha), mask=mask)
        return risk(tv, y, Poisson(), key=KEY, mask=mask)

    run = jax.jit(jax.value_and_grad(value))
    clean = run(0.0, jnp.where(mask, counts, 2))
    for junk in (np.nan, 1e9):
        spoiled = run(0.0, jnp.where(mask, counts, junk))
        np.testing.assert_allclose(spoiled, clean, rtol=1e-6)
    assert np.isfinite(clean).all()


@pytest.mark.parametrize("risk", [sure, sugar, pure, split])
def test_weights_pick_pixels_as_a_mask_does(risk):
    y = jnp.asarray(np.random.default_rng(4).poisson(TRUTH), jnp.float32)
    mask = np.random.default_rng(3).random(SHAPE) < 0.5
    options = {"key": KEY}

    def pixelwise(y):
        return 0.7 * y

    masked = risk(pixelwise, y, Poisson(), mask=mask, **options)
    weights = jnp.asarray(mask / mask.mean(), jnp.float32)
    weighted = risk(pixelwise, y, Poisson(), weights=weights, **options)
    np.testing.assert_allclose(weighted, masked, rtol=1e-5)


def test_error_bar_is_that_of_the_mean_over_probes():
    y, noise = draw(1.0), Gaussian(1.0)
    shift = partial(jnp.roll, shift=1, axis=0)
    mean, error = with_error(sure, lambda y: y + shift(y), y, noise, key=KEY)
    keys = jax.random.split(KEY, 8)
    values = [sure(lambda y: y + shift(y), y, noise, key=key) for key in keys]
    expected = mean_and_error(values)
    np.testing.assert_allclose((mean, error), expected, rtol=1e-4)
    # a probe that meets only itself has no error
    _, none = with_error(sure, lambda y: 0.5 * y, y, noise, key=KEY)
    assert none < 1e-6


@pytest.mark.parametrize("risk", [sure, sugar])
def test_correlated_noise_is_probed_by_draws_of_it(risk):
    noise = Correlated(1.0, np.ones((3, 3)))
    truth = 5 * jnp.asarray(reference.scene(64, 64), jnp.float32)
    blur = jax.jit(lambda y: local_mean(y[None], side=5)[0])
    keys = jax.random.split(KEY, 60)

    def judged(key):
        for_noise, for_probe = jax.random.split(key)
        y = truth + noise.draw(truth, for_noise)
        true = jnp.mean((blur(y) - truth) ** 2)
        white = risk(blur, y, Gaussian(1.0), key=for_probe)
        return risk(blur, y, noise, key=for_probe) - true, white - true

    right, white = np.asarray([judged(key) for key in keys]).T
    error = right.std(ddof=1) / len(keys) ** 0.5
    assert abs(right.mean()) < 4 * error
    # a white probe does not see that neighbors share their noise
    assert white.mean() < -20 * error


def test_misuse_is_named():
    y = draw(1.0)
    with pytest.raises(ValueError, match="`pure` is for Poisson noise, got Gaussian"):
        pure(lambda y: y, y, Gaussian(1.0), key=KEY)
    with pytest.raises(ValueError, match="`num_probes` must be at least 2, got 1"):
        with_error(sure, lambda y: y, y, Gaussian(1.0), key=KEY, num_probes=1)
    for density in (0.0, 1.0):
        with pytest.raises(ValueError, match="`density` must be between 0 and 1, got"):
            pure(lambda y: y, y, Poisson(), key=KEY, density=density)
