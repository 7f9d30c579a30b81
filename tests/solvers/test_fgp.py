import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.solvers import fgp, problem as rof

ALPHA = 0.8
Y = 4 * reference.scene(7, 6) + np.random.default_rng(0).normal(size=(7, 6))

pytestmark = pytest.mark.usefixtures("double")


def problem_of(norm="isotropic"):
    return rof.lay_out(jnp.asarray(Y), jnp.asarray(ALPHA), None, norm, False)


def test_first_step_is_a_projected_gradient_step():
    problem = problem_of()
    state = fgp.init(problem, rof.zero_dual(problem))
    state = fgp.step(problem, state, jnp.asarray(False))
    # from zero: P(s ∇y) with s = 1/8
    matrix = reference.difference_matrix(Y.shape)
    steps = (matrix @ Y.ravel() / 8).reshape(2, *Y.shape)
    length = np.maximum(reference.pixel_norm(steps), 1e-300)
    expected = steps * np.minimum(1, ALPHA / length)
    found = problem.scale * rof.dual_field(problem, state.q, Y.shape)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("norm", ["isotropic", "anisotropic"])
def test_every_step_is_feasible_and_they_lead_to_the_solution(norm):
    problem = problem_of(norm)
    state = fgp.init(problem, rof.zero_dual(problem))
    for _ in range(400):
        state = fgp.step(problem, state, jnp.asarray(False))
        field = np.asarray(problem.scale * rof.dual_field(problem, state.q, Y.shape))
        longest = np.abs(field) if norm == "anisotropic" else np.hypot(*field)
        assert longest.max() <= ALPHA * (1 + 1e-12)
    x = problem.scale * (
        rof.dual_image(problem, state.q)[1:-1].reshape(-1) - problem.flat
    )
    expected = reference.rof(Y, ALPHA, norm=norm) - Y.mean()
    # the reference itself is exact to 1e-8 of the spread
    np.testing.assert_allclose(x.reshape(Y.shape), expected, atol=1e-6)


def test_momentum_grows_as_nesterov_has_it_and_is_dropped_uphill():
    problem = problem_of()
    state = fgp.init(problem, rof.zero_dual(problem))
    state = fgp.step(problem, state, jnp.asarray(False))
    golden = (1 + np.sqrt(5)) / 2
    np.testing.assert_allclose([state.weight, state.t], [0, golden])
    state = fgp.step(problem, state, jnp.asarray(False))
    np.testing.assert_allclose(state.weight, (golden - 1) / state.t)
    # a step back from where the momentum points is uphill
    ahead = [20 * c for c in rof.to_components(state.q)]
    thrown = state._replace(
        previous=rof.from_components(ahead), weight=jnp.asarray(-1.0)
    )
    after = fgp.step(problem, thrown, jnp.asarray(False))
    np.testing.assert_array_equal([after.weight, after.t], [0, 1])
