import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.risk.singular import Response
from tvjax.stack.binning import Binning
from tvjax.stack.coefficients import (
    denoise_coefficients,
    local_gain,
    relative_variance,
)
from tvjax.stack.noise_draws import NoiseDraws, white_draws
from tvjax.stack.refine import Refined

SHAPE = (48, 48)
FIXED = Response(jnp.asarray(0.0), jnp.asarray(0.0), jnp.asarray(0.0))


@pytest.fixture(scope="module")
def scene():
    y, x = np.indices(SHAPE) / SHAPE[0]
    return (6 * ((np.floor(4 * y) + np.floor(3 * x)) % 2)).astype(np.float32)


def noisy(scene, seed, deviation=1.0):
    noise = deviation * np.random.default_rng(seed).normal(size=SHAPE)
    return (scene + noise).astype(np.float32)


def denoised(image, seed=0, *, clear=True, variance=None, mask=None, extra=()):
    """One image by itself, its basis vector taken as fixed."""
    variances = None if variance is None else variance[None]
    draws = white_draws((1, *SHAPE), variances, mask, jax.random.key(seed))
    return denoise_coefficients(
        image if mask is None else np.where(mask, image, 0),
        Refined(np.ones(1), Binning(1), FIXED, clear),
        leading=None,
        variance=variance,
        mask=mask,
        draws=NoiseDraws(draws.splitting[0], draws.probes[0]),
        correlation=1.0,
        shared=(),
        extra=extra,
    )


@pytest.mark.slow
def test_cost_is_the_error_and_the_noise_on_average(scene):
    off, errors = [], []
    for seed in range(8):
        y = noisy(scene, seed)
        found = denoised(y, seed)
        errors.append(np.mean((found.image - scene) ** 2))
        # the energy of the noise itself is common to cost and error
        off.append(found.cost / scene.size - np.mean((y - scene) ** 2) - errors[-1])
    assert np.mean(errors) < 0.2  # of noise of 1
    scatter = np.std(off) / len(off) ** 0.5
    assert abs(np.mean(off)) < 0.15 * np.mean(errors) + 2 * scatter


def test_noise_that_is_not_clear_is_dropped_and_signal_is_not(scene):
    nothing = denoised(noisy(0 * scene, 1), clear=False)
    assert not nothing.coefficients.any() and not nothing.image.any()
    # of nothing, the cost is the power of the image
    assert nothing.cost == pytest.approx(np.sum(noisy(0 * scene, 1) ** 2), rel=1e-5)
    kept = denoised(noisy(scene, 1), clear=False)
    assert kept.coefficients.sum() == pytest.approx(1, abs=0.1)


def test_any_callable_may_be_mixed_in(scene):
    def smooth(w):
        """As NumPy has it, so that JAX cannot differentiate it."""
        return np.asarray(w) * 0 + scene

    alone, helped = (denoised(noisy(scene, 2), extra=e) for e in ([], [smooth]))
    assert helped.coefficients.shape == (5,) and alone.coefficients.shape == (4,)
    # the other denoisers are good here, and share a tenth
    assert helped.coefficients[4] > 0.8
    error, other = (np.mean((f.image - scene) ** 2) for f in (helped, alone))
    assert error < 0.3 * other


def test_invalid_pixels_are_zero_and_change_nothing(scene):
    mask = np.random.default_rng(3).random(SHAPE) < 0.9
    y = noisy(scene, 3)
    found = denoised(y, mask=mask)
    spoiled = denoised(np.where(mask, y, 1e6).astype(np.float32), mask=mask)
    assert not found.image[~mask].any()
    np.testing.assert_array_equal(found.image, spoiled.image)


@pytest.mark.slow
def test_uneven_noise_is_smoothed_where_it_is_strong(scene):
    deviation = np.linspace(0.4, 1.4, SHAPE[1]) * np.ones(SHAPE)
    variance = (deviation**2 / np.mean(deviation**2)).astype(np.float32)
    y = noisy(scene, 4, np.sqrt(variance))
    change = np.abs(denoised(y, variance=variance).image - y)
    # the deviations of the first and the last quarter are as 1 to 2.5
    assert change[:, :12].mean() < 0.6 * change[:, -12:].mean()


def test_gain_is_that_of_wiener():
    rng = np.random.default_rng(5)
    leading = rng.uniform(0, 2, SHAPE).astype(np.float32)
    leading[0] = 0
    w = (leading * rng.choice([-3.0, 3.0], SHAPE)).astype(np.float32)
    gain = local_gain(jnp.asarray(w), jnp.asarray(leading), jnp.ones(SHAPE), None)
    # the excess is spread as the square of the leading image
    signal = (np.mean(w**2) - 1) * leading**2 / np.mean(leading**2)
    np.testing.assert_allclose(gain, signal / (signal + 1), rtol=1e-4)
    assert not gain[0].any()
    none = local_gain(jnp.zeros(SHAPE), jnp.asarray(leading), jnp.ones(SHAPE), None)
    np.testing.assert_array_equal(none, 0)


def test_relative_variance_has_mean_one_and_is_never_zero():
    variance = jnp.asarray(np.linspace(0, 4, 50) * np.ones((40, 50)), jnp.float32)
    found = relative_variance(variance, None)
    np.testing.assert_allclose(found[:, 10:], variance[:, 10:] / 2, rtol=1e-6)
    np.testing.assert_allclose(found.min(), 0.05)
    mask = jnp.arange(50) < 25
    valid = jnp.broadcast_to(mask, (40, 50))
    np.testing.assert_allclose(
        jnp.mean(relative_variance(variance, valid), where=valid), 1, rtol=0.01
    )
