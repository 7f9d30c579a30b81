"""What every denoiser and every solver keeps to; add new ones to the list."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import pytest
from jax import Array, numpy as jnp

import tvjax
from tests import reference
from tvjax.denoisers import (
    AbstractMaskedDenoiser,
    Mixture,
    Network,
    Resumable,
    TV,
    Wavelet,
)
from tvjax.denoisers.mixture import identity
from tvjax.denoisers.protocol import HeldMask, hold_mask
from tvjax.denoisers.subspace import Shrinkage

SHAPE = (12, 10)
ENERGIES = 6
RANK = 2.5


in_double_slowly = pytest.mark.parametrize(
    "dtype",
    ["float32", pytest.param("float64", marks=pytest.mark.slow)],
    indirect=True,
)


class Solver(AbstractMaskedDenoiser):
    """`tvjax.solve` as a denoiser."""

    alpha: Array
    held_mask: HeldMask
    solver: str = eqx.field(static=True)

    def __call__(self, y, *, key=None):
        return tvjax.solve(y, self.alpha, mask=self.mask, solver=self.solver).image


@cache
def network():
    """Random weights, drawn in one compilation."""
    return jax.jit(lambda key: Network((4, 6), (1, 1), key=key))(jax.random.key(0))


def make_sum(alpha, mask):
    each = jax.vmap(TV)(jnp.linspace(alpha, 2 * alpha, 4))
    return tvjax.SUM(RANK, denoiser=each, max_rank=4, mask=mask)


class Kind(NamedTuple):
    """How to make a denoiser of a strength and a mask, and whether it takes stacks."""

    make: Callable
    of_stacks: bool = False

    def noisy(self, seed=0):
        rng = np.random.default_rng(seed)
        truth = 5 * reference.scene(*SHAPE)
        if self.of_stacks:
            slope = np.arange(SHAPE[1]) / SHAPE[1]
            spectra = np.linspace(1, 3, ENERGIES), np.linspace(2, -1, ENERGIES)
            truth = np.multiply.outer(spectra[0], truth)
            truth = truth + 5 * np.multiply.outer(spectra[1], slope)[:, None]
        return truth + rng.normal(size=truth.shape)


DENOISERS = {
    "tv": Kind(lambda alpha, mask: TV(alpha, mask=mask)),
    "tv-anisotropic": Kind(
        lambda alpha, mask: TV(alpha, mask=mask, norm="anisotropic")
    ),
    "tv-map": Kind(lambda alpha, mask: TV(jnp.full(SHAPE, alpha), mask=mask)),
    "tv-channels": Kind(lambda alpha, mask: TV(alpha, mask=mask, channels=True), True),
    "fgp": Kind(lambda alpha, mask: Solver(jnp.asarray(alpha), hold_mask(mask), "fgp")),
    "chambolle": Kind(
        lambda alpha, mask: Solver(jnp.asarray(alpha), hold_mask(mask), "chambolle")
    ),
    "wavelet": Kind(lambda sigma, mask: Wavelet(sigma, mask=mask, num_levels=2)),
    # it has no strength
    "network": Kind(lambda alpha, mask: network().with_mask(mask)),
    "mixture": Kind(
        lambda alpha, mask: Mixture(
            (TV(alpha, mask=mask), identity), [0.7, 0.2], mask=mask
        )
    ),
    "symmetrized": Kind(
        lambda alpha, mask: tvjax.Symmetrized(
            TV(alpha, mask=mask), group="friedel", centre=(5.5, 4.5), mask=mask
        )
    ),
    "sum": Kind(make_sum, True),
    "truncation": Kind(lambda alpha, mask: tvjax.SUM(RANK, mask=mask), True),
    "shrinkage": Kind(lambda alpha, mask: Shrinkage(10 * alpha, mask=mask), True),
}


@pytest.fixture(params=DENOISERS.values(), ids=DENOISERS.keys())
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["whole", "masked"])
def made(request, kind):
    """A denoiser without a mask and with one, and data for it in single precision."""
    mask = some_mask() if request.param else None
    return kind.make(0.7, mask), jnp.asarray(kind.noisy(), jnp.float32)


@eqx.filter_jit
def run(denoiser, y):
    return denoiser(y)


def loss(denoiser, y):
    image = denoiser(y)
    valid = True if denoiser.mask is None else denoiser.mask
    return jnp.sum(jnp.where(valid, image, 0) ** 2)


@eqx.filter_jit
def slopes(denoiser, y):
    in_parameters = eqx.filter_grad(loss)(denoiser, y)
    return in_parameters, jax.grad(lambda y: loss(denoiser, y))(y)


def some_mask():
    """Invalid pixels with invalid partners under a half turn: none fills another."""
    mask = np.random.default_rng(1).random(SHAPE) < 0.9
    return mask & mask[::-1, ::-1]


def test_every_class_of_the_package_is_in_the_list():
    def all_below(base):
        for sub in base.__subclasses__():
            yield from (sub, *all_below(sub))

    made = {type(kind.make(0.7, None)) for kind in DENOISERS.values()}
    known = {
        sub
        for sub in all_below(tvjax.denoisers.AbstractDenoiser)
        if sub.__module__.startswith("tvjax")
        and not sub.__name__.startswith("Abstract")
    }
    assert known <= made


@in_double_slowly
def test_shape_and_dtype_are_kept(kind, dtype):
    y = jnp.asarray(kind.noisy(), dtype)
    image = run(kind.make(0.7, None), y)
    assert image.shape == y.shape and image.dtype == dtype


def test_denoiser_made_in_single_precision_serves_double(kind):
    denoiser = kind.make(0.7, None)
    with jax.enable_x64(True):
        assert run(denoiser, jnp.asarray(kind.noisy())).dtype == np.float64


def test_nothing_of_an_image_stays_for_the_next(kind):
    denoiser = kind.make(0.7, None)
    y, other = (jnp.asarray(kind.noisy(seed), jnp.float32) for seed in (0, 1))
    leaves = [np.array(leaf) for leaf in jax.tree.leaves(denoiser)]
    first, between, again = denoiser(y), denoiser(other), denoiser(y)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, between)
    for before, after in zip(leaves, jax.tree.leaves(denoiser), strict=True):
        np.testing.assert_array_equal(before, after)


def test_data_in_memory_of_their_own_are_left_alone(kind):
    # NumPy's arrays can be written to, and JAX may read them where they lie
    y = kind.noisy().astype(np.float32)
    before = y.copy()
    image = jax.jit(kind.make(0.7, some_mask()))(y)
    np.testing.assert_array_equal(y, before)
    assert not np.shares_memory(image, y)


@pytest.mark.parametrize(
    "made", [pytest.param(False, marks=pytest.mark.slow), True], indirect=True
)
def test_compiled_and_interpreted_agree(made):
    denoiser, y = made
    # other fusions round differently: some 1e-6 a step, within the certificate
    np.testing.assert_allclose(run(denoiser, y), denoiser(y), atol=1e-3)


def test_denoiser_itself_can_be_compiled(made):
    denoiser, y = made
    compiled = jax.jit(denoiser)
    np.testing.assert_allclose(compiled(y), denoiser(y), atol=1e-3)
    # it is the same function to JAX as long as it is the same denoiser
    assert denoiser == denoiser and hash(denoiser) == hash(denoiser)
    assert denoiser != jax.tree.map(lambda leaf: leaf, denoiser)


def test_denoisers_are_layers(kind):
    denoiser, y = kind.make(0.7, some_mask()), jnp.asarray(kind.noisy(), jnp.float32)
    layers = eqx.nn.Sequential([denoiser, eqx.nn.Lambda(jnp.negative), denoiser])
    expected = run(denoiser, -run(denoiser, y))
    together = layers(y, key=jax.random.key(0))
    # the second layer may enlarge the rounding of the first
    np.testing.assert_allclose(together, expected, atol=1e-3)


def test_batch_is_the_loop_in_any_order(kind):
    denoiser = kind.make(0.7, None)
    with jax.enable_x64(True):
        batch = jnp.stack([jnp.asarray(kind.noisy(seed)) for seed in range(3)])
        order = np.asarray([2, 0, 1])
        many = jax.jit(jax.vmap(denoiser))
        together, shuffled = many(batch), many(batch[order])
        for i, y in enumerate(batch):
            # double precision: nothing but roundings of 1e-16 a step
            np.testing.assert_allclose(together[i], run(denoiser, y), atol=1e-10)
    # a convolution of a batch rounds each item by its place in it
    np.testing.assert_allclose(np.asarray(together)[order], shuffled, atol=1e-13)


@in_double_slowly
def test_every_parameter_receives_a_finite_gradient(kind, dtype):
    denoiser = kind.make(0.7, some_mask())
    in_parameters, in_data = slopes(denoiser, jnp.asarray(kind.noisy(), dtype))
    leaves = jax.tree.leaves(in_parameters)
    assert leaves
    for leaf in [*leaves, in_data]:
        assert np.isfinite(leaf).all() and np.any(leaf)


def test_plain_gradients_are_the_filtered_ones(kind):
    denoiser, y = kind.make(0.7, some_mask()), jnp.asarray(kind.noisy(), jnp.float32)
    # every leaf is a parameter: the mask is none
    plain = jax.jit(jax.grad(loss))(denoiser, y)
    filtered, _ = slopes(denoiser, y)
    assert jax.tree.structure(plain) == jax.tree.structure(filtered)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(filtered), strict=True):
        # tangents to 1e-3, in programs that are fused differently
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2 * np.abs(b).max())


@in_double_slowly
def test_what_lies_under_the_mask_does_not_matter(kind, dtype):
    mask = some_mask()
    denoiser = kind.make(0.7, mask)
    clean = jnp.asarray(kind.noisy(), dtype)
    image, of_clean = run(denoiser, clean), slopes(denoiser, clean)
    for junk in (np.nan, np.inf, -1e30):
        spoiled = jnp.where(mask, clean, junk)
        after = run(denoiser, spoiled)
        np.testing.assert_array_equal(after[..., mask], image[..., mask])
        np.testing.assert_array_equal(after[..., ~mask], spoiled[..., ~mask])
        jax.tree.map(np.testing.assert_array_equal, slopes(denoiser, spoiled), of_clean)


def test_a_mask_can_be_put_on_and_taken_off(kind):
    mask = some_mask()
    denoiser = kind.make(0.7, None)
    masked = denoiser.with_mask(mask)
    assert denoiser.mask is None and masked.with_mask(None).mask is None
    np.testing.assert_array_equal(masked.mask, mask)
    assert eqx.tree_equal(masked.with_mask(None), denoiser)
    assert eqx.tree_equal(masked.with_mask(mask.copy()), masked)
    assert jax.tree.structure(masked) != jax.tree.structure(denoiser)
    assert len(jax.tree.leaves(masked)) == len(jax.tree.leaves(denoiser))


def test_another_strength_or_mask_compiles_nothing(kind):
    traces = []

    @eqx.filter_jit
    def counted(denoiser, mask, y):
        traces.append(None)
        return denoiser.with_mask(mask)(y)

    mask = jnp.asarray(some_mask())
    y = jnp.asarray(kind.noisy(), jnp.float32)
    for alpha in (0.1, 1.0, 7.3):
        for valid in (mask, ~mask):
            counted(kind.make(alpha, None), valid, y)
    assert len(traces) == 1


def test_denoisers_with_equal_masks_are_one_program(kind):
    traces = []

    @eqx.filter_jit
    def counted(denoiser, y):
        traces.append(None)
        return denoiser(y)

    y = jnp.asarray(kind.noisy(), jnp.float32)
    for alpha in (0.1, 1.0):
        counted(kind.make(alpha, some_mask()), y)
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["tv", "tv-anisotropic", "tv-map", "tv-channels"])
def test_memory_of_another_strength_does_not_change_the_answer(name):
    kind = DENOISERS[name]
    denoiser = kind.make(0.7, None)
    assert isinstance(denoiser, Resumable)
    y = jnp.asarray(kind.noisy(), jnp.float32)
    _, memory = kind.make(1.0, None).resume(y, denoiser.start(y))
    warm, _ = denoiser.resume(y, memory)
    cold, _ = denoiser.resume(y, denoiser.start(y))
    # both are within √(1e-4 · objective) of the solution, all pixels together
    objective = 70 if name != "tv-channels" else 450
    assert np.linalg.norm(warm - cold) < 2 * np.sqrt(1e-4 * objective)
