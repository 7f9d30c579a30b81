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
    alpha = float(problem.alpha)
    expected = p * np.minimum(1, alpha / np.maximum(length, 1e-300))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_unit_ball_and_back_is_the_identity_where_there_is_a_difference():
    alpha = np.random.default_rng(2).uniform(0.5, 2, (6, 5))
    mask = jnp.asarray(np.random.default_rng(3).random((6, 5)) < 0.8)
    problem = lay_out(normal((6, 5)), mask=mask, alpha=alpha)
    p, _ = laid_out_dual((6, 5), False)
    p = jnp.where(valid_differences((6, 5), mask), p, 0)
    q = rof.from_unit_ball(problem, rof.lay_out_dual(p, False))
    found = problem.scale * rof.dual_field(problem, q, p.shape[1:])
    np.testing.assert_allclose(found, -alpha * p)
    again = rof.dual_field(problem, rof.to_unit_ball(problem, q), p.shape[1:])
    np.testing.assert_allclose(again, p, rtol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_gap_is_the_difference_of_two_independent_objectives(norm):
    # of so much structure that no constant image comes near
    y = 10 * np.asarray(normal((6, 5)))
    problem = lay_out(y, norm)
    _, q = laid_out_dual((6, 5), False)
    q = rof.from_components(rof.project_on_ball(problem, rof.to_components(q)))
    x = rof.dual_image(problem, q)
    dual = np.sum(problem.data**2 - x[1:-1].reshape(-1) ** 2) / 2
    for u in (x, x + 0.1 * jnp.pad(normal((6, 5), 2), ((1, 1), (0, 0)))):
        found = rof.duality_gap(problem, q, u)
        primal = reference.objective(
            np.asarray(u[1:-1]),
            np.asarray(problem.data).reshape(6, 5),
            float(problem.alpha),
            norm=norm,
        )
        np.testing.assert_allclose(found.objective, primal, rtol=1e-12)
        np.testing.assert_allclose(found.gap, primal - dual, rtol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
def test_no_image_is_further_from_the_solution_than_its_certificate(norm):
    # of so much structure that no constant image comes near
    y = 10 * np.asarray(normal((6, 5)))
    problem = lay_out(y, norm)
    solution = problem.data.reshape(6, 5) + (reference.rof(y, ALPHA, norm=norm) - y) / (
        problem.scale
    )
    for seed, share in ((1, 0.0), (2, 0.3), (3, 1.0)):
        _, q = laid_out_dual((6, 5), False, seed)
        q = rof.from_components(rof.project_on_ball(problem, rof.to_components(q)))
        x = rof.dual_image(problem, q)
        padded = jnp.pad(solution, ((1, 1), (0, 0)))
        found = rof.duality_gap(problem, q, x + share * (padded - x))
        distance = jnp.linalg.norm(x - padded)
        assert distance <= found.distance
        assert found.distance**2 <= 2 * found.gap * (1 + 1e-12)
        # with the solution itself, nothing is given away
        if share == 0:
            np.testing.assert_allclose(found.distance**2, found.gap)


def test_the_constant_image_has_a_gap_that_no_strength_moves():
    y = np.asarray(normal((6, 5)))
    gaps = []
    for alpha in (1e3, 1e6, np.inf):
        problem = lay_out(y, alpha=alpha)
        q = rof.zero_dual(problem)
        found = rof.duality_gap(problem, q, rof.dual_image(problem, q))
        gaps.append(float(found.gap * problem.scale**2))
        np.testing.assert_allclose(found.gap, found.objective)
    np.testing.assert_allclose(gaps, np.sum((y - y.mean()) ** 2) / 2)


def test_invalid_pixels_level_and_unit_are_not_in_the_data():
    mask = jnp.asarray(np.random.default_rng(4).random((6, 5)) < 0.7)
    noise = normal((6, 5))
    y = jnp.where(mask, 1e6 * noise + 1e9, jnp.nan)
    problem = lay_out(y, mask=mask)
    data = problem.data.reshape(6, 5)
    np.testing.assert_array_equal(data[~mask], 0)
    assert 0.5 < jnp.max(jnp.abs(data)) < 1.5
    np.testing.assert_array_equal(np.frexp(problem.scale)[0], 0.5)
    back = (data - problem.flat.reshape(6, 5)) * problem.scale / 1e6
    # the rounding of a number near 1e9 over 1e6
    mean = jnp.mean(noise, where=mask)
    np.testing.assert_allclose(back[mask], (noise - mean)[mask], atol=1e-12)
    assert problem.num_valid == jnp.sum(mask)


def test_an_outlier_takes_no_digit_from_the_others():
    y = np.random.default_rng(5).poisson(1.0, (64, 64)).astype(np.float32)
    hot = y.copy()
    hot[3, 4] = 4e9
    others = y != hot
    problem = lay_out(hot)
    level = jnp.asarray(y - problem.scale * problem.data.reshape(64, 64))
    assert problem.data.dtype == np.float32
    # whole counts less a whole level: not a digit is lost
    assert np.unique(np.asarray(level)[~others]).tolist() == [1.0]


@pytest.mark.parametrize("value", [0.0, 1e-37, 3e-20, 1.0, 1.4, 3e30])
def test_power_of_two_is_next_to_the_greatest_magnitude(value):
    found = float(rof.power_of_two(jnp.asarray([value, -value / 2], jnp.float32)))
    assert np.frexp(found)[0] == 0.5
    if value:
        assert 2**-0.6 < value / found < 2**0.6
    else:
        assert found == 1


def test_what_is_no_problem_has_no_scale():
    y = np.asarray(normal((6, 5)))
    broken = y.copy()
    broken[2, 3] = np.nan
    assert np.isnan(lay_out(broken).scale)
    broken[2, 3] = np.inf
    assert np.isnan(lay_out(broken).scale)
    assert np.isnan(lay_out(y, alpha=-1.0).scale)
    valid = jnp.isfinite(broken)
    alpha = np.where(valid, 1.0, -1.0)
    assert lay_out(broken, mask=valid, alpha=alpha).scale > 0
