import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.risk.singular import (
    basis_response,
    optimal_shrinkage,
    shrinkage_risk,
    soft_threshold,
    truncation_risks,
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
    return (u * np.asarray(shrink(jnp.asarray(d)))) @ vt


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

    best = error(optimal_shrinkage(jnp.asarray(d), shape, 1.0))
    thresholds = np.linspace(10, 50, 21)
    assert all(best < error(soft_threshold(jnp.asarray(d), t)) for t in thresholds)
    assert all(best < error(d * (np.arange(60) < k)) for k in range(60))


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
