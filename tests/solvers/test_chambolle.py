import numpy as np
import pytest
from jax import lax, numpy as jnp

from tests import reference
from tvjax.solvers import chambolle, problem as rof

ALPHA = 0.8
Y = 4 * reference.scene(7, 6) + np.random.default_rng(0).normal(size=(7, 6))
MATRIX = reference.difference_matrix(Y.shape)

pytestmark = pytest.mark.usefixtures("double")


def problem_of(alpha=ALPHA):
    return rof.lay_out(jnp.asarray(Y), jnp.asarray(alpha), None, "isotropic", False)


def published_step(p):
    """p ← (p + τ g)/(1 + τ |g|) with g = ∇(div p − y/α) and τ = 1/8."""
    divergence = -np.einsum("kij,ki->j", MATRIX, p)
    g = MATRIX @ (divergence - Y.ravel() / ALPHA)
    return (p + g / 8) / (1 + np.hypot(*g) / 8)


def test_steps_are_those_of_the_paper():
    problem = problem_of()
    state = chambolle.init(problem, rof.zero_dual(problem))
    p = np.zeros((2, Y.size))
    for _ in range(20):
        state = chambolle.step(problem, state, jnp.asarray(False))
        p = published_step(p)
        found = rof.dual_field(problem, rof.to_unit_ball(problem, state.q), Y.shape)
        np.testing.assert_allclose(found, p.reshape(2, *Y.shape), atol=1e-12)
        # always feasible, without a projection
        assert np.hypot(*p).max() <= 1


def test_dual_field_of_the_solution_points_up_the_slopes_of_the_image():
    problem = problem_of()
    x = reference.rof(Y, ALPHA)
    steps = (MATRIX @ x.ravel()).reshape(2, *Y.shape)
    state = lax.fori_loop(
        0,
        5000,
        lambda i, state: chambolle.step(problem, state, i < 0),
        chambolle.init(problem, rof.zero_dual(problem)),
    )
    p = rof.dual_field(problem, rof.to_unit_ball(problem, state.q), Y.shape)
    q = -ALPHA * np.asarray(p)
    # q = α ∇x/|∇x| wherever the solution has a slope, after slow convergence
    length = np.hypot(*steps)
    steep = length > 0.1
    np.testing.assert_allclose(
        q[:, steep], ALPHA * steps[:, steep] / length[steep], atol=5e-3
    )


def test_no_strength_has_no_dual_field():
    problem = problem_of(0.0)
    state = chambolle.init(problem, rof.zero_dual(problem))
    state = chambolle.step(problem, state, jnp.asarray(True))
    for component in rof.to_components(state.q):
        np.testing.assert_array_equal(component, 0)
