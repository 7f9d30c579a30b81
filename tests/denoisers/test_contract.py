"""What every denoiser and every solver keeps to; add new ones to the list."""

from functools import cache

import equinox as eqx
import jax
import numpy as np
import pytest
from jax import Array, numpy as jnp

import tvjax
from tests import reference
from tvjax.denoisers import AbstractDenoiser, Network, Resumable, Wavelet

SHAPE = (12, 10)


class Solver(AbstractDenoiser):
    """`tvjax.solve` as a denoiser."""

    alpha: Array
    mask: Array | None
    solver: str = eqx.field(static=True)

    def __call__(self, y):
        return tvjax.solve(y, self.alpha, mask=self.mask, solver=self.solver).image


@cache
def network():
    """Random weights, drawn in one compilation."""
    return jax.jit(lambda key: Network((4, 6), (1, 1), key=key))(jax.random.key(0))


# From a strength and a mask to a denoiser.
IMPLEMENTATIONS = {
    "tv": lambda alpha, mask: tvjax.TV(alpha, mask=mask),
    "tv-anisotropic": lambda alpha, mask: tvjax.TV(
        alpha, mask=mask, norm="anisotropic"
    ),
    "tv-map": lambda alpha, mask: tvjax.TV(jnp.full(SHAPE, alpha), mask=mask),
    "fgp": lambda alpha, mask: Solver(jnp.asarray(alpha), mask, "fgp"),
    "chambolle": lambda alpha, mask: Solver(jnp.asarray(alpha), mask, "chambolle"),
    "wavelet": lambda sigma, mask: Wavelet(sigma, mask=mask, num_levels=2),
    # it has no strength
    "network": lambda alpha, mask: eqx.tree_at(
        lambda n: n.mask, network(), mask, is_leaf=lambda leaf: leaf is None
    ),
}


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())
def make(request):
    return request.param


@eqx.filter_jit
def run(denoiser, y):
    return denoiser(y)


@eqx.filter_jit
def slopes(denoiser, y):
    def loss(denoiser, y):
        image = denoiser(y)
        valid = True if denoiser.mask is None else denoiser.mask
        return jnp.sum(jnp.where(valid, image, 0) ** 2)

    in_parameters = eqx.filter_grad(loss)(denoiser, y)
    return in_parameters, jax.grad(lambda y: loss(denoiser, y))(y)


def noisy(seed=0):
    truth = 5 * reference.scene(*SHAPE)
    return truth + np.random.default_rng(seed).normal(size=SHAPE)


def some_mask():
    return np.random.default_rng(1).random(SHAPE) < 0.8


def test_shape_and_dtype_are_kept(make, dtype):
    y = jnp.asarray(noisy(), dtype)
    image = run(make(0.7, None), y)
    assert image.shape == y.shape and image.dtype == dtype


def test_denoiser_made_in_single_precision_serves_double(make):
    denoiser = make(0.7, None)
    with jax.enable_x64(True):
        assert run(denoiser, jnp.asarray(noisy())).dtype == np.float64


def test_same_input_gives_the_same_output_and_is_left_alone(make):
    denoiser, y = make(0.7, None), jnp.asarray(noisy(), jnp.float32)
    before = np.array(y)
    first, second = run(denoiser, y), run(denoiser, y)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(y, before)


def test_compiled_and_interpreted_agree(make):
    denoiser, y = make(0.7, None), jnp.asarray(noisy(), jnp.float32)
    # other fusions round differently: some 1e-6 a step, within the certificate
    np.testing.assert_allclose(run(denoiser, y), denoiser(y), atol=1e-3)


def test_batch_is_the_loop_in_any_order(make):
    denoiser = make(0.7, None)
    with jax.enable_x64(True):
        batch = jnp.stack([jnp.asarray(noisy(seed)) for seed in range(3)])
        order = np.asarray([2, 0, 1])
        many = jax.jit(jax.vmap(denoiser))
        together, shuffled = many(batch), many(batch[order])
        for i, y in enumerate(batch):
            # double precision: nothing but roundings of 1e-16 a step
            np.testing.assert_allclose(together[i], run(denoiser, y), atol=1e-10)
    np.testing.assert_array_equal(np.asarray(together)[order], shuffled)


def test_every_parameter_receives_a_finite_gradient(make, dtype):
    denoiser = make(0.7, some_mask())
    in_parameters, in_data = slopes(denoiser, jnp.asarray(noisy(), dtype))
    leaves = jax.tree.leaves(in_parameters)
    assert leaves
    for leaf in [*leaves, in_data]:
        assert np.isfinite(leaf).all() and np.any(leaf)


def test_what_lies_under_the_mask_does_not_matter(make, dtype):
    mask = some_mask()
    denoiser = make(0.7, mask)
    clean = jnp.asarray(noisy(), dtype)
    image, of_clean = run(denoiser, clean), slopes(denoiser, clean)
    for junk in (np.nan, np.inf, -1e30):
        spoiled = jnp.where(mask, clean, junk)
        after = run(denoiser, spoiled)
        np.testing.assert_array_equal(after[mask], image[mask])
        np.testing.assert_array_equal(after[~mask], spoiled[~mask])
        jax.tree.map(np.testing.assert_array_equal, slopes(denoiser, spoiled), of_clean)


def test_another_strength_or_mask_compiles_nothing(make):
    traces = []

    @eqx.filter_jit
    def counted(denoiser, y):
        traces.append(None)
        return denoiser(y)

    mask = jnp.asarray(some_mask())
    for alpha in (0.1, 1.0, 7.3):
        for valid in (mask, ~mask):
            counted(make(alpha, valid), jnp.asarray(noisy(), jnp.float32))
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["tv", "tv-anisotropic", "tv-map"])
def test_memory_of_another_strength_does_not_change_the_answer(name):
    make = IMPLEMENTATIONS[name]
    denoiser = make(0.7, None)
    assert isinstance(denoiser, Resumable)
    y = jnp.asarray(noisy(), jnp.float32)
    _, memory = make(1.0, None).resume(y, denoiser.start(y))
    warm, _ = denoiser.resume(y, memory)
    cold, _ = denoiser.resume(y, denoiser.start(y))
    # both are within √(1e-4 · 70) of the solution, all pixels together
    assert np.linalg.norm(warm - cold) < 2 * np.sqrt(1e-4 * 70)
