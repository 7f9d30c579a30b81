import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.noise import Gaussian
from tvjax.risk import sugar
from tvjax.tuning import risk_path, secant, tune

KEY = jax.random.key(0)


class Parameters(eqx.Module):
    """Something to tune, and something that is not."""

    a: jax.Array
    b: jax.Array
    count: jax.Array
    name: str = eqx.field(static=True)


def parameters(a=0.0, b=(0.0, 0.0)):
    return Parameters(jnp.asarray(a), jnp.asarray(b), jnp.asarray(3), "fixed")


def bowl(p, key):
    del key
    return 2 * (p.a - 1.5) ** 2 + jnp.sum((p.b - jnp.asarray([0.5, -0.7])) ** 2) + 1


def test_secant_solves_a_quadratic_in_two_steps_after_the_first():
    tuned = tune(parameters(), bowl, key=KEY, optimizer=secant(0.3, max_step=3.0))
    # one blind step, one by the secant, one that finds nothing left to do
    assert tuned.converged and tuned.num_steps == 3
    np.testing.assert_allclose(tuned.denoiser.a, 1.5, atol=1e-5)
    np.testing.assert_allclose(tuned.denoiser.b, [0.5, -0.7], atol=1e-5)
    np.testing.assert_allclose(tuned.risk, 1, atol=1e-5)
    assert not tuned.at_bound


def test_optimizers_of_optax_find_the_minimum():
    optimizer = optax.adam(optax.cosine_decay_schedule(0.3, 150))
    tuned = tune(
        parameters(), bowl, key=KEY, optimizer=optimizer, num_steps=150, tol=0.0
    )
    assert tuned.num_steps == 150 and not tuned.converged
    np.testing.assert_allclose(tuned.denoiser.a, 1.5, atol=0.01)
    np.testing.assert_allclose(tuned.denoiser.b, [0.5, -0.7], atol=0.01)


def test_only_floating_arrays_are_tuned():
    tuned = tune(parameters(), bowl, key=KEY)
    assert tuned.denoiser.count == 3 and tuned.denoiser.name == "fixed"
    assert tuned.visited.count is None


def test_the_way_is_recorded_step_by_step():
    tuned = tune(parameters(), bowl, key=KEY, num_steps=10)
    steps = int(tuned.num_steps)
    assert steps < 10
    assert (
        np.isnan(tuned.risks[steps:]).all() and np.isnan(tuned.visited.a[steps:]).all()
    )
    for i in range(steps):
        at = parameters(tuned.visited.a[i], tuned.visited.b[i])
        np.testing.assert_allclose(tuned.risks[i], bowl(at, KEY), rtol=1e-6)
    assert tuned.visited.a[0] == 0 and tuned.risk == np.nanmin(tuned.risks)


def test_without_a_short_step_the_best_visited_is_returned():
    # steps of ever the same length run past the minimum at 1.5
    tuned = tune(
        parameters(), bowl, key=KEY, optimizer=optax.sign_sgd(0.4), num_steps=7, tol=0.0
    )
    best = int(np.argmin(tuned.risks))
    assert not tuned.converged and tuned.risk == tuned.risks[best]
    assert tuned.denoiser.a == tuned.visited.a[best]
    np.testing.assert_array_equal(tuned.denoiser.b, tuned.visited.b[best])


@pytest.mark.parametrize(("bounds", "expected"), [((-1.0, 1.0), 1), ((2.0, 3.0), 2)])
def test_an_optimum_at_a_bound_is_reported(bounds, expected):
    def loss(a, key):
        return (a - 1.5) ** 2

    tuned = tune(jnp.asarray(bounds[0] + 0.1), loss, key=KEY, bounds=bounds)
    assert tuned.at_bound and tuned.denoiser == expected
    free = tune(jnp.asarray(0.0), loss, key=KEY, bounds=(-9.0, 9.0))
    assert not free.at_bound
    np.testing.assert_allclose(free.denoiser, 1.5, atol=1e-4)


def test_bounds_may_be_one_a_parameter():
    params, _ = eqx.partition(parameters(), eqx.is_inexact_array)
    upper = eqx.tree_at(lambda p: p.a, jax.tree.map(lambda p: p + 9, params), 1.0)
    upper = jax.tree.map(jnp.asarray, upper)
    tuned = tune(parameters(), bowl, key=KEY, bounds=(-9.0, upper))
    assert tuned.at_bound and tuned.denoiser.a == 1
    np.testing.assert_allclose(tuned.denoiser.b, [0.5, -0.7], atol=0.02)


def test_each_item_of_a_batch_is_tuned_on_its_own():
    targets = jnp.asarray([0.0, 0.4, 2.5])

    def one(target):
        return tune(jnp.asarray(0.0), lambda a, key: (a - target) ** 2, key=KEY)

    together = jax.jit(jax.vmap(one))(targets)
    np.testing.assert_allclose(together.denoiser, targets, atol=1e-4)
    alone = [int(one(target).num_steps) for target in targets]
    assert together.num_steps.tolist() == alone
    assert len(set(alone)) > 1


def test_memory_goes_from_one_call_to_the_next():
    def loss(a, key, memory):
        return (a - 1.5) ** 2, memory + 1

    tuned = tune(jnp.asarray(0.0), loss, key=KEY, memory=jnp.asarray(0))
    assert tuned.memory == tuned.num_steps


def test_every_call_gets_the_same_key():
    def loss(a, key):
        return (a - 1.5) ** 2 + jax.random.normal(key)

    tuned = tune(jnp.asarray(0.0), loss, key=KEY)
    expected = jax.random.normal(KEY)
    np.testing.assert_allclose(tuned.risk, expected, rtol=1e-5)


def test_secant_goes_downhill_at_full_length_where_the_risk_is_not_convex():
    optimizer = secant(first_step=0.3, max_step=0.5)
    position = jnp.asarray(0.0)
    state = optimizer.init(position)
    # −cos around its top: the slope grows with the distance from it
    for slope, step in ((-0.1, 0.3), (-0.4, 0.5), (-0.2, 0.5), (0.2, -0.25)):
        update, state = optimizer.update(jnp.asarray(slope), state, position)
        np.testing.assert_allclose(update, step, rtol=1e-6)


def test_risk_path_is_the_risk_at_each_strength():
    y = jax.random.normal(KEY, (12, 12)) + 3

    def loss(tv, key):
        return sugar(tv, y, Gaussian(1.0), key=key)

    alphas = jnp.asarray([0.2, 0.8, 3.0])
    risks = jax.jit(lambda a: risk_path(jax.vmap(tvjax.TV)(a), loss, key=KEY))(alphas)
    one = jax.jit(lambda alpha: loss(tvjax.TV(alpha), KEY))
    expected = [one(alpha) for alpha in alphas]
    # solved to 1e-4, in another order of operations
    np.testing.assert_allclose(risks, expected, rtol=1e-3)


def test_tuned_strength_is_where_the_risk_path_is_least():
    truth = jnp.where(jnp.arange(24) < 12, 0.0, 4.0)[None]
    y = truth + jax.random.normal(KEY, (24, 24))

    def loss(tv, key):
        return sugar(tv, y, Gaussian(1.0), key=key)

    alphas = jnp.geomspace(0.1, 10, 41)
    risks = jax.jit(lambda a: risk_path(jax.vmap(tvjax.TV)(a), loss, key=KEY))(alphas)
    tuned = jax.jit(lambda: tune(tvjax.TV(0.5), loss, key=KEY).risk)()
    # the finest the grid can say
    assert tuned <= risks.min() + 0.01 * (risks.max() - risks.min())


def test_two_slopes_of_a_curvature_that_fades_tell_where_the_risk_is_least():
    least = 0.4
    at = jnp.asarray(0.0)

    def slope(p):
        return 1 - jnp.exp(-3 * (p - least))

    fading = secant(first_step=0.1, max_step=2.0, fading=3.0)
    state = fading.init(at)
    for _ in range(2):
        step, state = fading.update(slope(at), state, at)
        at = at + step
    assert at == pytest.approx(least, abs=1e-5)
