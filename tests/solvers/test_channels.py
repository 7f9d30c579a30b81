"""Channels that share their edges: vector total variation."""

from functools import partial

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.denoisers import TV
from tvjax.solvers import Accuracy, solve

NORMS = ["isotropic", "anisotropic"]
MOSTLY_ISOTROPIC = ["isotropic", pytest.param("anisotropic", marks=pytest.mark.slow)]
SHAPE = (3, 7, 6)
ALPHA = 1.1
MASK = np.random.default_rng(1).random(SHAPE[1:]) < 0.85


def noisy(seed=0):
    """Edges at one place, of another height and on another pedestal each."""
    heights = np.asarray([4.0, -3.0, 2.0])[:, None, None]
    pedestals = np.asarray([0.0, 50.0, 7.0])[:, None, None]
    truth = heights * reference.scene(*SHAPE[1:]) + pedestals
    return truth + np.random.default_rng(seed).normal(size=SHAPE)


def distance(a, b):
    return np.linalg.norm(np.asarray(a, np.float64) - b)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("solver", ["pdhg", "fgp", "chambolle"])
def test_all_solvers_reach_the_reference_within_their_certificate(double, solver, norm):
    y = np.where(MASK, noisy(), np.nan)
    expected = reference.rof(noisy(), ALPHA, mask=MASK, norm=norm, channels=True)
    tol = 1e-4 if solver == "chambolle" else 1e-11
    solution = solve(
        y, ALPHA, mask=MASK, norm=norm, channels=True, tol=tol, solver=solver
    )
    assert solution.converged and solution.dual.shape == (2, *SHAPE)
    bound = float(solution.rmse) * (3 * MASK.sum()) ** 0.5 + 1e-7
    assert distance(solution.image[:, MASK], expected[:, MASK]) <= bound
    assert np.isnan(solution.image[:, ~MASK]).all()


@pytest.mark.parametrize("norm", NORMS)
def test_certificate_is_primal_minus_dual_of_a_feasible_pair(double, norm):
    y = noisy()
    # the image of this solver is the one of its dual field
    solution = solve(y, ALPHA, norm=norm, channels=True, tol=1e-2, solver="fgp")
    x, p = np.asarray(solution.image), np.asarray(solution.dual)
    together = 1 if norm == "anisotropic" else (0, 1)
    assert np.sum(p**2, axis=together).max() <= 1 + 1e-12
    matrix = reference.difference_matrix(SHAPE[1:])
    pull = np.einsum("kij,kci->cj", matrix, p.reshape(2, 3, -1)).reshape(SHAPE)
    np.testing.assert_allclose(x, y + ALPHA * pull, atol=1e-10)
    steps = np.einsum("kij,cj->kci", matrix, x.reshape(3, -1))
    length = np.sqrt(np.sum(steps**2, axis=together)).sum()
    primal = np.sum((x - y) ** 2) / 2 + ALPHA * length
    dual = np.sum(y**2 - x**2) / 2
    np.testing.assert_allclose(solution.gap, primal - dual, rtol=1e-6)
    np.testing.assert_allclose(solution.relative_gap, (primal - dual) / primal)


def test_one_channel_is_an_image():
    y = noisy()[0]
    for alpha in (ALPHA, np.linspace(0.2, 2, y.size).reshape(y.shape)):
        alone, one = solve(y, alpha), solve(y[None], alpha, channels=True)
        assert alone.num_steps == one.num_steps
        np.testing.assert_array_equal(one.image[0], alone.image)
        np.testing.assert_array_equal(one.dual[:, 0], alone.dual)


def test_multiples_of_one_image_are_denoised_as_one(double):
    # |∇x|_i over the channels is |∇x|_i of the image times the length of the factors
    y, factors = noisy()[0], np.asarray([3.0, 0.0, -4.0])[:, None, None]
    alone = solve(y, ALPHA / 5, tol=1e-12).image
    together = solve(factors * y, ALPHA, channels=True, tol=1e-12).image
    np.testing.assert_allclose(together, factors * alone[None], atol=1e-4)


def test_an_edge_that_one_channel_shows_is_kept_in_another():
    # a step of 0.3 under noise of 1, beside one of 30, at the same place
    rng = np.random.default_rng(2)
    right = np.arange(48) >= 24
    weak = 0.3 * right + rng.normal(size=(48, 48))
    strong = 30.0 * right + rng.normal(size=(48, 48))
    y = np.stack([weak, strong])
    together = np.asarray(solve(y, 4.0, channels=True, tol=1e-5).image[0])
    apart = np.asarray(solve(weak, 4.0, tol=1e-5).image)

    def steepest(x):
        return np.argmax(np.abs(np.diff(x, axis=1)), axis=1) == 23

    assert np.mean(steepest(together)) > 0.9 > 0.5 > np.mean(steepest(apart))


def test_a_map_of_strengths_is_for_all_channels(double):
    alpha = np.random.default_rng(3).uniform(0, 2, SHAPE[1:])
    alpha[2:4, 2:5] = 0
    expected = reference.rof(noisy(), alpha, channels=True)
    solution = solve(noisy(), alpha, channels=True, tol=1e-11)
    bound = float(solution.rmse) * expected.size**0.5 + 1e-7
    assert distance(solution.image, expected) <= bound


@pytest.mark.parametrize("norm", MOSTLY_ISOTROPIC)
def test_derivatives_are_those_of_the_reference(double, norm):
    tight = Accuracy(tol=1e-10, max_steps=20_000)
    options = {"mask": MASK, "norm": norm, "channels": True}
    run = partial(solve, tol=1e-13, tangent=tight, **options)
    rng = np.random.default_rng(4)
    w, v = rng.normal(size=(2, *SHAPE)) * MASK
    alpha_map, direction = rng.uniform(0.5, 1.5, (2, *SHAPE[1:]))

    def loss(y, alpha):
        return jnp.sum(w * run(y, alpha).image)

    @jax.jit
    def derivatives(y, alpha, *tangents):
        slopes = jax.grad(loss, argnums=(0, 1))(y, alpha)
        return slopes, jax.jvp(loss, (y, alpha), tangents)[1]

    def reference_loss(y, alpha):
        return np.sum(w * reference.rof(y, alpha, num_steps=10_000, **options))

    y = noisy()
    for alpha, change in ((ALPHA, 1.0), (alpha_map, direction)):
        (in_data, in_strength), forward = derivatives(y, alpha, v, change)
        # the error is quadratic in the width, but at merging regions
        along_data = reference.central_difference(
            lambda y, alpha=alpha: reference_loss(y, alpha), y, v, 1e-4
        )
        along_strength = reference.central_difference(
            lambda alpha: reference_loss(y, alpha), alpha, change, 1e-4
        )
        np.testing.assert_allclose(np.sum(in_data * v), along_data, atol=1e-3)
        np.testing.assert_allclose(
            np.sum(in_strength * change), along_strength, atol=1e-3
        )
        np.testing.assert_allclose(forward, along_data + along_strength, atol=2e-3)


def test_denoiser_is_the_solution_and_goes_on_from_its_memory():
    x = jnp.asarray(noisy(), jnp.float32)
    denoiser = TV(ALPHA, mask=MASK, channels=True)
    expected = solve(x, denoiser.alpha, mask=MASK, channels=True).image
    np.testing.assert_allclose(denoiser(x), expected, atol=1e-4)
    image, memory = denoiser.resume(x, denoiser.start(x))
    again, _ = denoiser.resume(x, memory)
    # both are within √(1e-4 · 400) of the solution, all pixels together
    assert distance(again, image) < 2 * np.sqrt(1e-4 * 400)


def test_a_dual_field_is_a_start():
    first = solve(noisy(), ALPHA, channels=True)
    again = solve(noisy(), ALPHA, channels=True, dual=first.dual)
    assert again.num_steps <= 20 < first.num_steps


def test_misuse_gets_a_sentence():
    y = noisy()
    for arguments, message in (
        ((y[0, 0], 1.0), "`y` must have an axis of channels and those of the image"),
        ((y, np.ones(SHAPE)), r"`alpha` must .* image's shape \(7, 6\), got"),
    ):
        with pytest.raises(ValueError, match=message):
            solve(*arguments, channels=True)
    with pytest.raises(ValueError, match=r"`mask` must .* shape \(7, 6\), got"):
        solve(y, 1.0, channels=True, mask=np.ones(SHAPE, bool))
    with pytest.raises(ValueError, match=r"`dual` must have the shape \(2, 3, 7, 6\)"):
        solve(y, 1.0, channels=True, dual=jnp.zeros((3, *SHAPE)))
