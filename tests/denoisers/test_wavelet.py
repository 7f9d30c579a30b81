import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tests import reference
from tvjax.denoisers import Wavelet, wavelet_risk
from tvjax.denoisers.wavelet import linear_expansion
from tvjax.risk.mixture_coefficients import least_risk_coefficients

SHAPE = (13, 10)
SCENE = 20 * reference.scene(64, 64)


def noisy(seed=0, sigma=1.0):
    noise = np.random.default_rng(seed).normal(0, sigma, SCENE.shape)
    return jnp.asarray(SCENE + noise)


def holes():
    mask = np.random.default_rng(1).random(SHAPE) < 0.8
    mask[4:8, 3:6] = False  # wider than the windows of the first level
    return mask


@pytest.fixture(scope="module")
def expanded():
    """A small image with holes, noise that differs from pixel to pixel, and parts."""
    rng = np.random.default_rng(2)
    y, mask = rng.normal(0, 2, SHAPE), holes()
    variance = rng.uniform(0.5, 2, SHAPE)

    @jax.jit
    def both(y):
        def images(y):
            expansion = linear_expansion(y, jnp.asarray(variance), jnp.asarray(mask), 2)
            return jnp.concatenate([expansion.low[None], expansion.parts]), expansion

        jacobian, expansion = jax.jacfwd(images, has_aux=True)(y)
        return expansion, jacobian

    with jax.enable_x64(True):
        expansion, jacobian = jax.device_get(both(jnp.asarray(y)))
    return y, mask, variance, expansion, jacobian


def test_subbands_without_a_threshold_sum_to_the_image(expanded):
    y, mask, _, expansion, _ = expanded
    total = expansion.low + expansion.parts[::4].sum(0)
    np.testing.assert_allclose(total, np.where(mask, y, 0), atol=1e-12)


def test_divergences_are_the_traces_of_the_jacobians(expanded):
    _, mask, variance, expansion, jacobian = expanded
    diagonal = np.einsum("kijij->kij", jacobian)
    traces = np.sum(variance * diagonal, axis=(1, 2))
    np.testing.assert_allclose(expansion.low_divergence, traces[0], atol=1e-10)
    np.testing.assert_allclose(expansion.divergences, traces[1:], atol=1e-10)
    assert not jacobian[:, ~mask].any() and not jacobian[..., ~mask].any()


def test_risk_is_that_of_the_weighted_parts(expanded):
    y, mask, variance, expansion, _ = expanded
    rest = np.where(mask, y - expansion.low, 0)
    with jax.enable_x64(True):
        weights = least_risk_coefficients(
            jnp.asarray(expansion.parts),
            jnp.asarray(rest),
            jnp.asarray(expansion.divergences),
            np.mean(variance[mask]),
        )
        found = wavelet_risk(y, np.sqrt(variance), mask=mask, num_levels=2)
    distance = np.sum((np.tensordot(weights, expansion.parts, 1) - rest) ** 2)
    divergence = expansion.low_divergence + np.dot(weights, expansion.divergences)
    expected = (distance + 2 * divergence - np.sum(variance[mask])) / mask.sum()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def draws():
    """Errors and risks, in closed form and by a probe, over 60 draws of the noise."""
    ys = jnp.stack([noisy(seed) for seed in range(60)])
    wavelet, noise = Wavelet(1.0), tvjax.Gaussian(1.0)

    def judge(item):
        y, key = item
        error = jnp.mean((wavelet(y) - SCENE) ** 2)
        return error, wavelet_risk(y, 1.0), tvjax.sure(wavelet, y, noise, key=key)

    keys = jax.random.split(jax.random.key(0), len(ys))
    return ys, *map(np.asarray, jax.lax.map(judge, (ys, keys)))


@pytest.mark.slow
def test_mean_risk_is_the_mean_error(draws):
    _, errors, risks, probed = draws
    off = risks - errors
    deviation = np.std(off) / np.sqrt(len(off))
    # the order of 2 σ²/N for each of 48 weights that are found from the same data
    assert -2 * 48 / SCENE.size - 4 * deviation < np.mean(off) < 4 * deviation
    # the derivative along a direction knows how the weights move
    off = probed - errors
    assert abs(np.mean(off)) < 4 * np.std(off) / np.sqrt(len(off))


def test_error_is_below_that_of_a_soft_threshold_at_one_level(draws):
    ys, errors, _, _ = draws
    y = np.asarray(ys[0])

    def soft(threshold):
        """Mean over the four ways to put down blocks of 2 x 2 pixels."""
        total = 0
        for dy, dx in np.ndindex(2, 2):
            x = np.roll(y, (dy, dx), (0, 1))
            for axis in (0, 1):
                even, odd = (np.take(x, range(k, 64, 2), axis) for k in (0, 1))
                x = np.concatenate([even + odd, even - odd], axis) / np.sqrt(2)
            small = np.sign(x) * np.maximum(np.abs(x) - threshold, 0)
            small[:32, :32] = x[:32, :32]
            for axis in (1, 0):
                low, high = np.split(small, 2, axis)
                pair = np.stack([low + high, low - high], axis + 1) / np.sqrt(2)
                small = pair.reshape(64 if axis == 0 else len(small), -1)
            total = total + np.roll(small, (-dy, -dx), (0, 1))
        return np.mean((total / 4 - SCENE) ** 2)

    np.testing.assert_allclose(soft(0.0), np.mean((y - SCENE) ** 2), rtol=1e-4)
    best = min(soft(threshold) for threshold in np.linspace(0.5, 4, 15))
    # 2 dB of peak signal-to-noise ratio
    assert errors[0] < 10**-0.2 * best


def test_strong_features_are_kept_and_noise_alone_is_not():
    rng = np.random.default_rng(4)
    denoiser = Wavelet(1.0)
    noise = rng.normal(size=SCENE.shape)
    # the coarsest means and some 48 weights of 4096 pixels hold a few percent of it
    assert np.mean(np.square(denoiser(jnp.asarray(noise)))) < 0.1
    busy = 100 * rng.normal(size=SCENE.shape)
    kept = np.asarray(denoiser(jnp.asarray(busy)))
    # the factor of Wiener's filter for this ratio is 1 − 1e-4
    np.testing.assert_allclose(kept, busy, atol=0.5)


def test_noise_of_another_level_in_each_half_is_told_apart():
    sigma = np.where(np.arange(64) < 32, 0.3, 2.0) * np.ones((64, 1))
    y = jnp.asarray(SCENE + sigma * np.random.default_rng(5).normal(size=SCENE.shape))
    each = np.square(Wavelet(sigma)(y) - SCENE).mean()
    one = np.square(Wavelet(np.sqrt(np.mean(sigma**2)))(y) - SCENE).mean()
    assert each < 0.8 * one


def test_image_is_the_same_in_another_unit():
    base, moved = Wavelet(1.0)(noisy()), Wavelet(7.0)(7 * noisy())
    # roundings, amplified by the condition of the weights
    np.testing.assert_allclose(moved / 7, base, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 9), (4, 5, 3)])
def test_any_shape_is_an_image(shape):
    y = jnp.asarray(np.random.default_rng(6).normal(0, 5, shape))
    image = Wavelet(1.0, num_levels=1)(y)
    assert image.shape == shape and np.isfinite(image).all()
    assert np.sum(image**2) < 1.1 * np.sum(y**2)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="`sigma` must be positive, got 0.0"):
        Wavelet([1.0, 0.0])
    with pytest.raises(ValueError, match="`num_levels` must be at least 1, got 0"):
        Wavelet(1.0, num_levels=0)
