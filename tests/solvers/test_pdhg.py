import numpy as np
import pytest
from jax import lax, numpy as jnp

from tests import reference
from tvjax.operators import valid_differences
from tvjax.solvers import pdhg, problem as rof

ALPHA = 0.8
Y = 4 * reference.scene(7, 6) + np.random.default_rng(0).normal(size=(7, 6))

pytestmark = pytest.mark.usefixtures("double")


def problem_of(y=Y, alpha=ALPHA, norm="isotropic"):
    return rof.lay_out(jnp.asarray(y), jnp.asarray(alpha), None, norm, False)


def longest(problem, q):
    """Greatest length in a pixel, in the unit of the data."""
    field = np.asarray(problem.scale * rof.dual_field(problem, q, Y.shape))
    return reference.pixel_norm(field).max()


def test_first_image_is_the_one_of_the_dual_field():
    problem = problem_of()
    q = np.random.default_rng(1).normal(size=(2, *Y.shape))
    q = rof.lay_out_dual(jnp.where(valid_differences(Y.shape), q, 0), False)
    state = pdhg.init(problem, q)
    np.testing.assert_allclose(
        state.u[1:-1].reshape(-1), problem.data + rof.divergence(problem, q)
    )


def test_steps_lead_to_the_solution_and_stay_there():
    problem = problem_of()
    state = lax.fori_loop(
        0,
        600,
        lambda i, state: pdhg.step(problem, state, i < 0),
        pdhg.init(problem, rof.zero_dual(problem)),
    )
    expected = reference.rof(Y, ALPHA) - Y.mean()
    # the reference itself is exact to 1e-8 of the spread
    for image in (rof.dual_image(problem, state.q), pdhg.image(problem, state)):
        x = problem.scale * (image[1:-1] - problem.flat[0])
        np.testing.assert_allclose(x, expected, atol=1e-6)


def test_an_image_that_belongs_to_its_dual_field_stays_to_the_digit():
    # in single precision, where a mean of u and y + div q would round it
    problem = rof.lay_out(
        jnp.asarray(Y, jnp.float32), jnp.float32(0), None, "isotropic", False
    )
    start = pdhg.init(problem, rof.zero_dual(problem))
    state = pdhg.step(problem, start, jnp.asarray(False))
    np.testing.assert_array_equal(state.u, start.u)


def test_only_a_last_step_is_sure_to_be_feasible():
    problem = problem_of(alpha=0.3)
    state = pdhg.init(problem, rof.zero_dual(problem))
    beyond = []
    for _ in range(10):
        read = pdhg.step(problem, state, jnp.asarray(True))
        assert longest(problem, read.q) <= 0.3 * (1 + 1e-12)
        state = pdhg.step(problem, state, jnp.asarray(False))
        beyond.append(longest(problem, state.q))
    # relaxation goes past the ball, which is why the last step has none
    assert max(beyond) > 0.3 * 1.01


def test_steps_fulfil_the_condition_of_convergence():
    problem = problem_of()
    matrix = reference.difference_matrix(Y.shape).reshape(-1, Y.size)
    size = pdhg.primal_size(problem)
    product = size * pdhg.dual_size(problem, size)
    assert product * np.linalg.norm(matrix, 2) ** 2 <= 1


def test_primal_step_follows_the_noise_over_the_strength():
    noise = np.random.default_rng(2).normal(size=(200, 200))
    for sigma, alpha in ((1.0, 1.0), (3.0, 3.0), (2.0, 1.0), (1.0, 2.0)):
        size = pdhg.primal_size(problem_of(sigma * noise, alpha))
        # a border has a difference less, and √π/2 is rounded: a percent each
        np.testing.assert_allclose(size, 0.05 * (sigma / alpha) ** 1.2, rtol=0.05)
    assert pdhg.primal_size(problem_of(noise, 0.0)) == 0.5
    assert pdhg.primal_size(problem_of(noise, 1e9)) == 0.01
