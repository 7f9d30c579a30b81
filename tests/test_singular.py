import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy.ndimage import gaussian_filter

from tvjax.singular import (
    basis_response,
    independent_rows,
    noise_edge,
    noise_level,
    optimal_shrinkage,
    shrinkage_risk,
    soft_threshold,
    truncation_risks,
    uneven_noise_edge,
)

M, N, RANK = 40, 12, 3


def signal(strength=6.0, shape=(M, N), rank=RANK):
    rng = np.random.default_rng(0)
    scale = strength * np.sqrt(np.arange(rank, 0, -1))
    u, _ = np.linalg.qr(rng.normal(size=(shape[0], rank)))
    v, _ = np.linalg.qr(rng.normal(size=(shape[1], rank)))
    return (u * scale * np.sqrt(shape[0])) @ v.T / 2


def draws(num, shape=(M, N), sigma=1.0, strength=6.0):
    truth = signal(strength, shape)
    rng = np.random.default_rng(1)
    y = truth + sigma * rng.normal(size=(num, *shape))
    u, d, vt = np.linalg.svd(y, full_matrices=False)
    return truth, y, u, d, vt


def divergence(estimate, y, width=1e-5):
    """The trace of the Jacobian, by central differences."""
    total = 0.0
    for i in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[i] = width
        total += (estimate(y + step)[i] - estimate(y - step)[i]) / (2 * width)
    return total


def replace(y, shrink):
    u, d, vt = np.linalg.svd(y, full_matrices=False)
    return (u * np.asarray(shrink(d))) @ vt


@pytest.mark.parametrize("shape", [(9, 5), (5, 9)])
def test_risks_hold_the_divergence_of_finite_differences(shape):
    y = signal(1.0, shape) + np.random.default_rng(2).normal(size=shape)
    d = np.linalg.svd(y, compute_uv=False)
    m, n = shape
    sigma = 0.7
    shrinks = {
        "soft": lambda d: soft_threshold(d, 0.9),
        "optimal": lambda d: optimal_shrinkage(d, shape, 0.4),
    }
    with jax.enable_x64(True):
        for shrink in shrinks.values():
            div = divergence(lambda z, f=shrink: replace(z, f), y)
            f = np.asarray(shrink(jnp.asarray(d)))
            expected = np.sum((f - d) ** 2) + 2 * sigma**2 * div
            risk = shrinkage_risk(jnp.asarray(d), shrink, shape, sigma)
            # central differences of 1e-5 in double precision
            np.testing.assert_allclose(risk, expected / (m * n) - sigma**2, rtol=1e-6)
        risks = truncation_risks(jnp.asarray(d), shape, sigma)
    for kept in range(len(d) + 1):
        div = divergence(
            lambda z, k=kept: replace(z, lambda d: d * (np.arange(len(d)) < k)), y
        )
        expected = np.sum(d[kept:] ** 2) + 2 * sigma**2 * div
        np.testing.assert_allclose(
            risks[kept], expected / (m * n) - sigma**2, rtol=1e-5, atol=1e-8
        )


def test_mean_of_the_truncation_risk_is_the_error_at_every_rank():
    truth, y, u, d, vt = draws(400)
    risks = np.asarray(jax.vmap(lambda d: truncation_risks(d, (M, N), 1.0))(d))
    for kept in range(8):  # above the true rank, too
        x = (u[:, :, :kept] * d[:, None, :kept]) @ vt[:, :kept]
        errors = np.mean((x - truth) ** 2, axis=(1, 2))
        # the noise's own energy is common to risk and error
        energy = np.mean((y - truth) ** 2, axis=(1, 2)) - 1
        off = risks[:, kept] - errors - energy
        assert abs(off.mean()) < 4 * off.std() / 400**0.5


def test_optimal_shrinkage_beats_every_soft_threshold_and_truncation():
    shape = (800, 60)  # optimal where many pixels meet a low rank
    truth, _, u, d, vt = draws(3, shape, strength=1.0)

    def error(values):
        return np.mean(((u * np.asarray(values)[:, None]) @ vt - truth) ** 2)

    best = error(optimal_shrinkage(d, shape, 1.0))
    thresholds = np.linspace(10, 50, 21)
    assert all(best < error(soft_threshold(d, t)) for t in thresholds)
    assert all(best < error(d * (np.arange(60) < k)) for k in range(60))


def test_noise_level_is_that_of_the_noise():
    for shape in ((4000, 60), (300, 200)):
        y = signal(3.0, shape) + 2.5 * np.random.default_rng(3).normal(size=shape)
        d = np.linalg.svd(y, compute_uv=False)
        # three of the values are the signal's
        np.testing.assert_allclose(noise_level(d, shape), 2.5, rtol=0.02)


def test_equal_singular_values_have_finite_risks_and_slopes():
    d = jnp.asarray([3.0, 3.0, 1.0, 0.0])
    assert np.isfinite(truncation_risks(d, (9, 4), 1.0)).all()

    def risk(threshold):
        return shrinkage_risk(d, lambda d: soft_threshold(d, threshold), (9, 4), 1.0)

    value, slope = jax.value_and_grad(risk)(0.5)
    assert np.isfinite(value) and np.isfinite(slope)


def test_response_of_the_basis_completes_the_divergence():
    # a smoothing that is no multiple of the identity, and not linear
    rng = np.random.default_rng(4)
    distance = np.subtract.outer(np.arange(M), np.arange(M)) / 2
    smooth = np.exp(-(distance**2) / 2)
    smooth /= smooth.sum(axis=1, keepdims=True)
    y, rank = signal(2.0) + rng.normal(size=(M, N)), 3

    def denoise(w):
        return 2 * jnp.tanh(smooth @ w / 3) + 0.2 * w

    def whole(y):
        _, vectors = jnp.linalg.eigh(y.T @ y)
        vectors = vectors[:, ::-1][:, :rank]
        return jax.vmap(denoise, 1, 1)(y @ vectors) @ vectors.T

    with jax.enable_x64(True):
        exact = np.trace(jax.jacrev(whole)(jnp.asarray(y)).reshape(M * N, M * N))
        _, d, vt = np.linalg.svd(y)
        pull, push, doubt = basis_response(jnp.asarray(d), M)
        fixed = total = 0.0
        for k in range(rank):
            w = y @ vt[k]
            trace = np.trace(jax.jacrev(denoise)(jnp.asarray(w)))
            fixed += trace
            total += (1 + push[k]) * trace + pull[k] * np.vdot(denoise(w), w)
        assert exact > 1.3 * fixed
        assert total == pytest.approx(float(exact), rel=0.02)
        # the truncation's own divergence, exactly
        kept = jnp.arange(N) < rank
        plain = jnp.sum(jnp.where(kept, (1 + push) * M + pull * d**2, 0))
        risk = truncation_risks(jnp.asarray(d), (M, N), 1.0)[rank]
        expected = np.sum(d[rank:] ** 2) + 2 * plain - M * N
        assert expected == pytest.approx(float(risk) * M * N, rel=1e-9)
    nearest = np.min(np.abs(np.delete(d, 1) ** 2 - d[1] ** 2))
    assert doubt[1] == pytest.approx(1 / nearest)


def test_noise_ends_at_its_edge():
    shape, rng = (300, 30), np.random.default_rng(5)
    d = [np.linalg.svd(rng.normal(size=shape), compute_uv=False)[0] for _ in range(200)]
    # quantiles of the law of Tracy and Widom for real matrices, in its own scale
    for quantile, x in ((0.5, -1.27), (0.9, 0.45), (0.99, 2.02)):
        share = np.mean(np.array(d) < noise_edge(shape, x))
        assert share == pytest.approx(quantile, abs=0.09)
    assert noise_edge(shape, 1.0) == noise_edge(shape[::-1], 1.0)


def test_uneven_noise_ends_at_its_edge():
    assert uneven_noise_edge(np.ones(300), 30) == pytest.approx(
        noise_edge((300, 30)) ** 2
    )
    powers = np.linspace(0, 2, 800)
    rng, greatest = np.random.default_rng(6), []
    for _ in range(20):
        z = rng.normal(size=(800, 60))
        greatest.append(np.linalg.eigvalsh((z.T * powers) @ z)[-1])
    # finite matrices end a little before
    assert np.mean(greatest) == pytest.approx(uneven_noise_edge(powers, 60), rel=0.03)


def test_correlated_rows_count_as_fewer():
    rng, shape = np.random.default_rng(7), (60, 50, 40)
    noise = rng.normal(size=shape)
    smooth = gaussian_filter(noise, (0.7, 0.7, 0))
    kernel = gaussian_filter(np.eye(9)[4][:, None] * np.eye(9)[4], 0.7)
    spectrum = np.abs(np.fft.fft2(kernel, shape[:2])) ** 2
    expected = np.mean(spectrum) ** 2 / np.mean(spectrum**2)
    signal = 20 * rng.normal(size=(*shape[:2], 5)) @ rng.normal(size=(5, shape[2]))
    for data, share in ((noise, 1.0), (smooth, expected), (smooth + signal, expected)):
        d = np.linalg.svd(data.reshape(-1, shape[2]), compute_uv=False)
        found = independent_rows(d, (3000, shape[2])) / 3000
        assert found == pytest.approx(share, rel=0.2)
    assert independent_rows(np.ones(40), (3000, 40)) == 3000
