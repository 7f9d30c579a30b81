import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.operators import difference, difference_adjoint, valid_differences
from tvjax.solvers import problem as rof

ALPHA = 0.7
# of all channels, and whether there is more than one
LAYOUTS = [((9,), False), ((6, 5), False), ((3, 4, 2), False), ((2, 6, 5), True)]
NORMS = ["isotropic", "anisotropic"]

pytestmark = pytest.mark.usefixtures("double")


def normal(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def lay_out(y, norm="isotropic", channels=False, mask=None, alpha=ALPHA):
    return rof.lay_out(jnp.asarray(y), jnp.asarray(alpha), mask, norm, channels)


def laid_out_dual(shape, channels, seed=1):
    """A dual field in the shape of the data, and as the solvers have it."""
    p = normal((len(shape) - channels, *shape), seed)
    p = jnp.where(valid_differences(shape)[int(channels) :], p, 0)
    return p, rof.lay_out_dual(p, channels)


@pytest.mark.parametrize(("shape", "channels"), LAYOUTS)
def test_a_dual_field_comes_back_from_the_layout(shape, channels):
    problem = lay_out(normal(shape), channels=channels)
    p, laid_out = laid_out_dual(shape, channels)
    np.testing.assert_array_equal(rof.dual_field(problem, laid_out, shape), p)
    again = rof.from_components(rof.to_components(laid_out))
    for a, b in zip(again, laid_out, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("shape", "channels"), LAYOUTS)
def test_differences_and_divergence_are_those_of_the_operators(shape, channels):
    y = normal(shape)
    problem = lay_out(y, channels=channels)
    steps = rof.differences(problem, rof.pad_rows(problem, y.reshape(-1)))
    exists = valid_differences(shape).at[: int(channels)].set(False)
    expected = difference(y, exists)[int(channels) :]
    found = rof.dual_field(problem, rof.from_components(steps), shape)
    np.testing.assert_array_equal(found, expected)

    p, q = laid_out_dual(shape, channels)
    padded = jnp.concatenate([jnp.zeros((int(channels), *shape)), p])
    pull = -difference_adjoint(padded, exists)
    # sums of at most six numbers of order one
    np.testing.assert_allclose(
        rof.divergence(problem, q), np.ravel(pull), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("shape", "channels"), LAYOUTS)
def test_projection_shortens_what_is_longer_than_alpha(shape, channels, norm):
    problem = lay_out(normal(shape), norm, channels)
    p, q = laid_out_dual(shape, channels)
    projected = rof.from_components(rof.project_on_ball(problem, rof.to_components(q)))
    found = rof.dual_field(problem, projected, shape)
    # over the channels, and over the components where the norm is isotropic
    together = {
        ("isotropic", False): (0,),
        ("isotropic", True): (0, 1),
        ("anisotropic", False): (),
        ("anisotropic", True): (1,),
    }[norm, channels]
    length = np.sqrt(np.sum(np.asarray(p) ** 2, axis=together, keepdims=True))
    expected = p * np.minimum(1, ALPHA / np.maximum(length, 1e-300))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_unit_ball_and_back_is_the_identity_where_there_is_a_difference():
    alpha = np.random.default_rng(2).uniform(0.5, 2, (6, 5))
    mask = jnp.asarray(np.random.default_rng(3).random((6, 5)) < 0.8)
    problem = lay_out(normal((6, 5)), mask=mask, alpha=alpha)
    p, _ = laid_out_dual((6, 5), False)
    p = jnp.where(valid_differences((6, 5), mask), p, 0)
    q = rof.from_unit_ball(problem, rof.lay_out_dual(p, False))
    np.testing.assert_allclose(rof.dual_field(problem, q, p.shape[1:]), -alpha * p)
    again = rof.dual_field(problem, rof.to_unit_ball(problem, q), p.shape[1:])
    np.testing.assert_allclose(again, p, rtol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_gap_is_the_difference_of_two_independent_objectives(norm):
    y = np.asarray(normal((6, 5)))
    problem = lay_out(y, norm)
    _, q = laid_out_dual((6, 5), False)
    q = rof.from_components(rof.project_on_ball(problem, rof.to_components(q)))
    gap, objective = rof.gap_and_objective(problem, q)
    centred = y - y.mean()
    x = centred + np.asarray(rof.divergence(problem, q)).reshape(y.shape)
    primal = reference.objective(x, centred, ALPHA, norm=norm)
    dual = (np.sum(centred**2) - np.sum(x**2)) / 2
    np.testing.assert_allclose(objective, primal, rtol=1e-12)
    np.testing.assert_allclose(gap, primal - dual, rtol=1e-10)


def test_invalid_pixels_and_the_mean_are_not_in_the_data():
    mask = jnp.asarray(np.random.default_rng(4).random((6, 5)) < 0.7)
    y = jnp.where(mask, normal((6, 5)) + 1000, jnp.nan)
    problem = lay_out(y, mask=mask)
    data = problem.data.reshape(6, 5)
    np.testing.assert_array_equal(data[~mask], 0)
    # the rounding of a number near 1000
    np.testing.assert_allclose(jnp.sum(data), 0, atol=1e-10)
    assert problem.num_valid == jnp.sum(mask)
