import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.denoisers import TV
from tvjax.noise import Gaussian
from tvjax.risk.splitting import deal, FRACTION, Split
from tvjax.tuning.strength import (
    ALPHA_TOLERANCE,
    choose_alpha,
    choose_alpha_between,
    START,
)
from tvjax.tuning.tiles import place_tiles

KEY = jax.random.key(0)
SHAPE = (64, 64)
TRUTH = 10 * reference.scene(*SHAPE)


def frames(num=1, seed=0):
    noise = np.random.default_rng(seed).normal(size=(num, *SHAPE))
    return jnp.asarray(TRUTH + noise, jnp.float32)


@jax.jit
def risk_of(parts, alpha):
    """The risk of a strength for all of the exposure."""
    return parts.error(jax.vmap(TV(alpha / FRACTION**0.5))(parts.seen))


@pytest.fixture(scope="module")
def tuned():
    return choose_alpha(frames(), Gaussian(1.0), key=KEY)


def test_chosen_strength_is_where_its_risk_is_least(tuned):
    assert tuned.converged and not tuned.at_bound
    alpha = float(tuned.denoiser.alpha)
    parts = deal(frames(), Gaussian(1.0), key=KEY)
    near = np.asarray([0.8, 0.9, 1.0, 1.1, 1.25]) * alpha
    risks = np.asarray([risk_of(parts, strength) for strength in near])
    assert int(jnp.argmin(risks)) in (1, 2, 3)
    # the last move is short, and the risk is flat at its minimum
    assert risks[2] - risks.min() < ALPHA_TOLERANCE**2 * (risks.max() - risks.min())


def test_descent_begins_near_the_noise_and_ends_with_all_of_the_exposure(tuned):
    visited = np.exp(np.asarray(tuned.visited.log_alpha))
    # the noise of the seen share is 1/√0.9 of that of all
    np.testing.assert_allclose(visited[0], START * FRACTION**0.5, rtol=1e-5)
    assert tuned.denoiser.mask is None and tuned.memory is None


def test_invalid_pixels_do_not_count():
    mask = jnp.asarray(np.random.default_rng(1).random((1, *SHAPE)) < 0.9)
    y = frames()
    found = [
        choose_alpha(jnp.where(mask, y, junk), Gaussian(1.0), mask=mask, key=KEY)
        for junk in (0.0, np.nan)
    ]
    assert found[0].denoiser.alpha == found[1].denoiser.alpha
    assert found[0].risk == found[1].risk


def test_a_constant_profile_changes_nothing_but_the_unit_of_the_strength(tuned):
    profile = jnp.full((1, *SHAPE), 2.0)
    found = choose_alpha(frames(), Gaussian(1.0), profile=profile, key=KEY)
    # two descents of their own, each to the tolerance
    np.testing.assert_allclose(
        2 * found.denoiser.alpha, tuned.denoiser.alpha, rtol=2 * ALPHA_TOLERANCE
    )


def test_strength_between_two_measurements_is_that_of_the_same_split(tuned):
    parts = deal(frames(), Gaussian(1.0), key=KEY)
    found = choose_alpha_between(parts)
    np.testing.assert_allclose(found.denoiser.alpha, tuned.denoiser.alpha, rtol=1e-5)
    np.testing.assert_allclose(found.risk, tuned.risk, rtol=1e-4)


def test_images_of_several_frames_do_not_touch():
    # the same frame twice, upside down: as if each were denoised alone
    y = frames()
    parts = deal(jnp.concatenate([y, y[:, ::-1]]), Gaussian(1.0), key=KEY)
    found = choose_alpha_between(parts)
    expected = risk_of(parts, np.exp(found.visited.log_alpha[0]))
    # solved to a relative gap of 1e-3
    np.testing.assert_allclose(found.risks[0], expected, rtol=0.02)


@pytest.mark.slow
def test_large_frames_are_judged_on_tiles_of_them_first():
    noise = jax.random.normal(jax.random.key(1), (256, 256))
    big = (jnp.asarray(np.tile(TRUTH, (4, 4)), jnp.float32) + noise)[None]
    assert place_tiles(big, None) is not None
    found = choose_alpha(big, Gaussian(1.0), key=KEY)
    # the way over the whole begins where the tiles ended: it tries one step and is done
    visited = np.asarray(found.visited.log_alpha)[: int(found.num_steps)]
    assert found.converged and len(visited) <= 4 and np.ptp(visited) < 0.2
    parts = deal(big, Gaussian(1.0), key=KEY)
    tv = TV(np.exp(visited[0]) / FRACTION**0.5, tol=1e-4)
    expected = parts.error(jax.jit(tv)(parts.seen[0])[None])
    # of all pixels, solved to a relative gap of 1e-3
    np.testing.assert_allclose(found.risks[0], expected, rtol=0.02)


def test_a_risk_without_a_minimum_is_not_said_to_have_one():
    # a ramp is seen where nothing is: the stronger, the better, without end
    ramp = 1e4 * jnp.linspace(-1, 1, 32) * jnp.ones((1, 32, 1))
    nothing = jnp.zeros((1, 32, 32))
    parts = Split(ramp, nothing, nothing + 1, None, FRACTION)
    found = choose_alpha_between(parts)
    assert not found.converged
    risks = np.asarray(found.risks)
    assert np.all(np.diff(risks) < 0) and found.risk == risks[-1]
