import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.denoisers import SUM
from tvjax.denoisers.subspace import (
    coefficient_images,
    expand_images,
    shrink_optimally,
    Shrinkage,
    soft_rank,
    temporal_basis,
)
from tvjax.metrics import mse
from tvjax.noise import Gaussian
from tvjax.risk.singular import optimal_shrinkage, truncation_risks
from tvjax.tuning import secant

ENERGIES, SHAPE, RANK, SIGMA = 20, (24, 26), 3, 10.0
KEY = jax.random.key(0)


@eqx.filter_jit
def run(denoiser, y):
    return denoiser(jnp.asarray(y))


def spectra_of_regions(seed=0):
    """A stack of three spectra in blocks, and white noise upon it."""
    rng = np.random.default_rng(seed)
    spectra = 8 * np.cumsum(rng.normal(size=(RANK, ENERGIES)), axis=1)
    regions = np.add.outer(np.arange(24) // 8, np.arange(26) // 9) % RANK
    truth = spectra[regions].transpose(2, 0, 1)
    y = truth + SIGMA * rng.normal(size=truth.shape)
    return y.astype(np.float32), truth.astype(np.float32)


Y, TRUTH = spectra_of_regions()
basis = jax.jit(temporal_basis)


def truncated(y, rank):
    u, d, vt = np.linalg.svd(y.reshape(len(y), -1).T, full_matrices=False)
    return ((u[:, :rank] * d[:rank]) @ vt[:rank]).T.reshape(y.shape)


def test_basis_holds_the_singular_values_and_vectors():
    vectors, values = basis(Y)
    matrix = Y.reshape(ENERGIES, -1).astype(np.float64)
    expected = np.linalg.svd(matrix, compute_uv=False)
    # rounding of the largest in single precision
    np.testing.assert_allclose(values, expected, atol=1e-6 * expected[0])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(ENERGIES), atol=1e-5)
    images = coefficient_images(jnp.asarray(Y), vectors).reshape(ENERGIES, -1)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), values, rtol=1e-4)
    assert (vectors[np.argmax(np.abs(vectors), 0), np.arange(ENERGIES)] > 0).all()
    np.testing.assert_allclose(
        expand_images(coefficient_images(jnp.asarray(Y), vectors), vectors),
        Y,
        atol=1e-3,
    )


def test_small_components_survive_beside_large_ones():
    rng = np.random.default_rng(1)
    u, _ = np.linalg.qr(rng.normal(size=(400, 4)))
    v, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    values = np.asarray([1.0, 1e-2, 1e-4, 1e-5])
    y = ((u * values) @ v.T).T.reshape(4, 20, 20).astype(np.float32)
    # the root of single precision is 3e-4
    np.testing.assert_allclose(basis(y).values, values, rtol=0.02)


def test_at_a_whole_rank_without_a_denoiser_it_is_the_truncation():
    for rank in (1, 3):
        x = run(SUM(rank), Y)
        np.testing.assert_allclose(x, truncated(Y, rank), atol=1e-3)


def test_between_whole_ranks_one_component_is_shrunk():
    np.testing.assert_array_equal(soft_rank(2.25, 4), [1, 1, 0.25, 0])
    x = run(SUM(2.25), Y)
    expected = 0.75 * truncated(Y, 2) + 0.25 * truncated(Y, 3)
    np.testing.assert_allclose(x, expected, atol=1e-3)


def test_each_component_has_its_own_denoiser():
    alphas = jnp.asarray([20.0, 5.0, 1.0])
    x = run(SUM(2, denoiser=jax.vmap(tvjax.TV)(alphas), max_rank=3), Y)
    vectors = basis(Y).vectors
    images = coefficient_images(jnp.asarray(Y), vectors)
    denoised = jnp.stack(
        [run(tvjax.TV(a), w) for a, w in zip(alphas, images, strict=False)]
    )
    expected = expand_images(denoised[:2], vectors[:, :2])
    np.testing.assert_allclose(x, expected, atol=1e-2)
    assert mse(x, TRUTH) < mse(truncated(Y, 2), TRUTH)


def test_rank_descends_on_the_risk_to_that_of_least_error():
    def loss(denoiser, key):
        return tvjax.sugar(denoiser, jnp.asarray(Y), Gaussian(SIGMA), key=key)

    # half a component above what the singular values alone say
    shape = (Y[0].size, ENERGIES)
    first = 0.5 + jnp.argmin(truncation_risks(basis(Y).values, shape, SIGMA))
    optimizer = secant(max_step=0.5)  # none may leap over a whole component
    start = SUM(float(first), max_rank=8)
    tuned = tvjax.tune(start, loss, optimizer=optimizer, key=KEY, bounds=(1.0, 8.0))
    errors = [mse(truncated(Y, rank), TRUTH) for rank in range(1, 9)]
    assert round(float(tuned.denoiser.rank)) == 1 + np.argmin(errors) == RANK


def test_invalid_pixels_come_back_and_take_no_part():
    mask = np.random.default_rng(2).random(SHAPE) < 0.8
    denoiser = SUM(3, mask=mask)
    spoiled = run(denoiser, np.where(mask, Y, np.nan))
    clean = run(denoiser, np.where(mask, Y, 0))
    np.testing.assert_array_equal(spoiled[:, mask], clean[:, mask])
    assert np.isnan(spoiled[:, ~mask]).all()


def test_shrinkage_acts_on_the_singular_values_alone():
    u, d, vt = np.linalg.svd(Y.reshape(ENERGIES, -1).T, full_matrices=False)
    threshold = 1.5 * SIGMA * np.sqrt(Y[0].size)
    soft = (u * np.maximum(d - threshold, 0)) @ vt
    x = run(Shrinkage(threshold), Y)
    np.testing.assert_allclose(x, soft.T.reshape(Y.shape), atol=2e-3)
    best = (u * np.asarray(optimal_shrinkage(jnp.asarray(d), u.shape, SIGMA))) @ vt
    x = jax.jit(lambda y: shrink_optimally(y, SIGMA))(Y)
    np.testing.assert_allclose(x, best.T.reshape(Y.shape), atol=2e-3)


@pytest.mark.parametrize("rank", [0, -1.0])
def test_a_rank_that_is_none_is_refused(rank):
    with pytest.raises(ValueError, match="`rank` must be positive"):
        SUM(rank)
    with pytest.raises(ValueError, match="`threshold` must be positive"):
        Shrinkage(rank)
