import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests.learning.patterns import tiny
from tvjax.learning.count_network import local_rate
from tvjax.learning.loss import loss, poisson_deviance, squared_error
from tvjax.learning.pairs import Summed, TrainingPair


@pytest.mark.parametrize("judge", [poisson_deviance, squared_error])
def test_loss_is_least_at_the_mean_of_the_counts(judge):
    drawn = np.random.default_rng(0).poisson(0.2, (2, 64, 64))
    drawn = jnp.asarray(drawn, jnp.float32)
    pair = TrainingPair(*(Summed(counts, jnp.ones_like(counts)) for counts in drawn))
    level = drawn[1].mean()
    if judge is squared_error:  # weighted by the local mean of the input
        mean = local_rate(*pair.input)
        level = jnp.mean(drawn[1] / mean) / jnp.mean(1 / mean)
    low, least, high = (
        float(jnp.mean(judge(jnp.full_like(drawn[1], factor * level), pair)))
        for factor in (0.97, 1.0, 1.03)
    )
    assert least < low and least < high


def test_weights_of_the_squares_know_nothing_of_the_target():
    drawn = np.random.default_rng(0).poisson(0.2, (2, 64, 64))
    drawn = jnp.asarray(drawn, jnp.float32)
    ones = jnp.ones((64, 64))
    one, other = (
        squared_error(
            jnp.zeros((64, 64)),
            TrainingPair(Summed(drawn[0], ones), Summed(c, ones)),
        )
        for c in (drawn[1], 2 * drawn[1])
    )
    np.testing.assert_allclose(4 * one, other, rtol=1e-5)


@pytest.mark.parametrize("judge", [poisson_deviance, squared_error])
def test_pixels_without_a_target_cost_nothing(judge):
    ones = jnp.ones((8, 8))
    pair = TrainingPair(Summed(ones, ones), Summed(0 * ones, 0 * ones))
    np.testing.assert_array_equal(judge(3 * ones, pair), 0)


def test_deviance_is_zero_at_the_counts_themselves():
    exposed = jnp.full((8, 8), 2.0)
    counts = jnp.arange(64.0).reshape(8, 8)
    pair = TrainingPair(Summed(counts, exposed), Summed(counts, exposed))
    # 1e-7 a rounding, of terms of order 300
    np.testing.assert_allclose(poisson_deviance(counts / 2, pair)[1:], 0, atol=1e-4)


def test_loss_of_a_batch_is_the_mean_over_its_images():
    drawn = np.random.default_rng(0).poisson(2.0, (2, 3, 16, 16))
    first, second = jnp.asarray(drawn, jnp.float32)
    ones = jnp.ones_like(first)
    pairs = TrainingPair(Summed(first, ones), Summed(second, ones))
    judge = eqx.filter_jit(loss)
    each = [
        judge(tiny(), jax.tree.map(lambda images, i=i: images[i : i + 1], pairs))
        for i in range(3)
    ]
    # 1e-7 a rounding
    np.testing.assert_allclose(judge(tiny(), pairs), np.mean(each), rtol=1e-5)
