import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.noise import Correlated, Gaussian, Poisson
from tvjax.simulate import diffraction_image
from tvjax.solvers import solve
from tvjax.tuning.dealing import RepeatedFrames, SplitFrames
from tvjax.tuning.draws import _Descent, _width, choose_by_draws, risks_by_draws

SHAPE = (96, 96)


def errors(y, truth, alphas, weights=1.0):
    image = jax.jit(lambda alpha: solve(y, alpha, tol=3e-4).image)
    return np.asarray([np.mean(weights * (image(a) - truth) ** 2) for a in alphas])


@pytest.fixture(scope="module")
def spots():
    counts, truth = diffraction_image((160, 160), background=(0.3, 0.8), num_spots=12)
    return jnp.asarray(counts, jnp.float32), truth


@pytest.mark.parametrize(
    "weights", [pytest.param("uniform", marks=pytest.mark.slow), "variance"]
)
def test_strength_is_as_good_as_the_best_by_the_errors_that_it_was_asked_for(
    spots, weights
):
    y, truth = spots
    found = choose_by_draws(
        SplitFrames(y[None], Poisson()), weights=weights, key=jax.random.key(0)
    )
    each = 1 / truth if weights == "variance" else 1.0
    alphas = np.geomspace(0.3, 3, 20).astype(np.float32)
    best = errors(y, truth, alphas, each).min()
    chosen = errors(y, truth, [np.float32(found.alpha)], each)[0]
    assert chosen < 1.05 * best
    assert found.converged and not found.at_bound


@pytest.mark.slow
def test_another_key_moves_the_strength_by_its_chance(spots):
    y, _ = spots
    found = [
        choose_by_draws(SplitFrames(y[None], Poisson()), key=jax.random.key(k))
        for k in range(5)
    ]
    logs = np.log([choice.alpha for choice in found])
    chance = np.median([choice.chance for choice in found])
    # five keys: their deviation is known to a third
    assert logs.std(ddof=1) < 2.5 * chance
    assert np.ptp(logs) < np.log(1.15)
    assert all(choice.chance < choice.error for choice in found)


def test_at_a_wall_chance_reaches_to_where_the_sign_is_certain():
    at = [float(np.log(alpha)) for alpha in (0.67, 0.72, 0.9, 1.0)]
    slopes, chances = [-1900.0, 470.0, 500.0, 650.0], [300.0, 250.0, 250.0, 80.0]
    steep = 3e4  # between the first two: by that, chance were below one in a hundred
    descent = _Descent(at, [0.0] * 4, at[1], steep, slopes, chances, True)
    assert at[2] - at[1] < _width(descent) < at[3] - at[0]
    certain = descent._replace(chances=[chance / 10 for chance in chances])
    assert _width(certain) < at[1] - at[0]


@pytest.mark.slow
def test_error_covers_the_best_strength():
    truth = 10 * reference.scene(*SHAPE)
    alphas = np.geomspace(0.3, 3, 40)

    def one(seed):
        noise = np.random.default_rng(seed).normal(size=SHAPE)
        y = jnp.asarray(truth + noise, jnp.float32)
        best = alphas[errors(y, truth, alphas.astype(np.float32)).argmin()]
        frames = SplitFrames(y[None], Gaussian(1.0))
        found = choose_by_draws(frames, key=jax.random.key(seed))
        return abs(np.log(found.alpha / best)) / found.error

    # two standard errors cover nineteen of twenty; of ten draws one may lie beyond
    assert np.sum(np.asarray([one(seed) for seed in range(10)]) > 2) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("side", [130, 192])
def test_every_part_of_the_frame_has_its_say_whatever_its_size(side):
    # structure on the left, which wants little, and nothing on the rest
    truth = np.zeros((side, side))
    truth[:, : side // 4] = 10 * reference.scene(side, side // 4)
    drawn = np.random.default_rng(0).normal(size=truth.shape)
    for flipped in (truth, truth[:, ::-1]):
        y = jnp.asarray(flipped + drawn, jnp.float32)
        alphas = np.geomspace(0.4, 3, 24).astype(np.float32)
        best = errors(y, flipped, alphas).min()
        frames = SplitFrames(y[None], Gaussian(1.0))
        found = choose_by_draws(frames, weights="uniform", key=jax.random.key(0))
        assert errors(y, flipped, [np.float32(found.alpha)])[0] < 1.03 * best


def test_an_empty_field_does_not_run_to_the_bound():
    y = np.random.default_rng(0).poisson(0.05, (1, *SHAPE)).astype(np.float32)
    frames = SplitFrames(jnp.asarray(y), Poisson())
    found = choose_by_draws(frames, key=jax.random.key(0))
    assert not found.at_bound
    image = np.asarray(solve(y[0], found.alpha).image)
    assert image.std() < 0.1 * y.std()


def test_correlated_noise_is_smoothed_more_than_white():
    noise = Correlated(1.0, np.ones((3, 3)))
    truth = 10 * reference.scene(*SHAPE)
    drawn = np.asarray(noise.draw(jnp.zeros(SHAPE), jax.random.key(1)))
    y = jnp.asarray(truth + drawn, jnp.float32)
    alphas = np.geomspace(0.3, 8, 24).astype(np.float32)
    best = errors(y, truth, alphas).min()

    def ratio(model):
        found = choose_by_draws(SplitFrames(y[None], model), key=jax.random.key(0))
        return errors(y, truth, [np.float32(found.alpha)])[0] / best

    assert ratio(noise) < 1.05 < ratio(Gaussian(1.0))


def test_invalid_pixels_take_no_part(spots):
    y, _ = spots
    mask = jnp.ones(y.shape, bool).at[40:60].set(False)[None]
    found = [
        choose_by_draws(
            SplitFrames(jnp.where(mask, y, junk), Poisson(), mask),
            key=jax.random.key(0),
        )
        for junk in (0.0, np.nan)
    ]
    assert found[0].alpha == found[1].alpha


def test_risks_for_a_picture_are_least_where_the_descent_ended(spots):
    y, _ = spots
    frames = SplitFrames(y[None], Poisson())
    found = choose_by_draws(frames, key=jax.random.key(0))
    alphas = found.alpha * np.geomspace(0.25, 4, 9)
    risks = risks_by_draws(alphas, frames, key=jax.random.key(1))
    assert np.argmin(risks) in (3, 4, 5)
    assert risks[0] > risks[4] < risks[-1]


def test_repeats_choose_a_strength_without_any_model_of_their_noise():
    # noise of neighbors that are alike, which no white model knows
    noise = Correlated(1.0, np.ones((3, 3)))
    truth = 10 * reference.scene(*SHAPE)
    drawn = [noise.draw(jnp.zeros(SHAPE), jax.random.key(k)) for k in range(3)]
    y = jnp.asarray(truth + np.stack(drawn), jnp.float32)
    alphas = np.geomspace(0.3, 8, 24).astype(np.float32)
    best = errors(y[0], truth, alphas).min()
    found = choose_by_draws(RepeatedFrames(y, Gaussian(1.0)), key=jax.random.key(0))
    again = choose_by_draws(RepeatedFrames(y, Gaussian(1.0)), key=jax.random.key(1))
    assert errors(y[0], truth, [np.float32(found.alpha)])[0] < 1.05 * best
    # no key has a part in it
    assert found.alpha == again.alpha and found.converged
