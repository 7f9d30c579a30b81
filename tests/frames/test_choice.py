import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.frames.choice import choose_strengths, dealers_of, warnings_of
from tvjax.noise import Gaussian
from tvjax.tuning.dealing import RepeatedFrames, SplitFrames
from tvjax.tuning.draws import ChosenStrength

VISITED = np.asarray([0.5, 1.0])
CHOICE = ChosenStrength(1.0, 0.1, 0.1, 1.0, VISITED, VISITED, True, False)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def frames():
    ramp = np.linspace(0, 10, 64) * np.ones((2, 64, 1))
    drawn = np.random.default_rng(0).normal(size=ramp.shape)
    return jnp.asarray(ramp + drawn, jnp.float32)


def choose(dealers, curve_points=0):
    return choose_strengths(
        dealers, weights="uniform", norm="isotropic", curve_points=curve_points, key=KEY
    )


def said(*choices):
    return list(warnings_of(choices))


def test_there_is_one_dealer_for_all_or_one_a_frame(frames):
    noise = Gaussian(1.0)
    (one,) = dealers_of(frames, noise, None)
    assert isinstance(one, SplitFrames) and one.frames.shape == frames.shape
    each = dealers_of(frames, noise, jnp.ones(frames.shape, bool), per_frame=True)
    assert [dealer.frames.shape for dealer in each] == [(1, 64, 64)] * 2
    (repeats,) = dealers_of(frames, noise, None, repeats=True)
    assert isinstance(repeats, RepeatedFrames)


def test_a_picture_shows_each_split_and_their_mean(frames):
    dealers = dealers_of(frames, Gaussian(1.0), None)
    choices, curve = choose(dealers, curve_points=5)
    np.testing.assert_allclose(
        curve.alphas, choices[0].alpha * np.geomspace(0.25, 4, 5)
    )
    assert curve.splits.shape == (3, 5)
    np.testing.assert_allclose(curve.risks, curve.splits.mean(0))


def test_repeats_have_one_curve_because_no_key_has_a_part_in_it(frames):
    _, curve = choose(dealers_of(frames, Gaussian(1.0), None, repeats=True), 5)
    assert curve.splits.shape == (1, 5)


def test_curves_of_several_frames_end_in_nothing_where_they_are_shorter(frames):
    dealers = dealers_of(frames, Gaussian(1.0), None, per_frame=True)
    choices, curve = choose(dealers)
    assert curve.alphas.shape == curve.risks.shape
    for choice, alphas in zip(choices, curve.alphas, strict=True):
        np.testing.assert_array_equal(np.isfinite(alphas).sum(), len(choice.visited))
        assert np.all(np.diff(alphas[: len(choice.visited)]) >= 0)


def test_warnings_say_what_deserves_a_second_look():
    assert said(CHOICE) == []
    (text,) = said(CHOICE._replace(at_bound=True))
    assert "end of its range" in text and "check the noise model" in text
    # at an end the descent cannot settle, and there is no error
    least = CHOICE._replace(at_bound=True, alpha=0.5, converged=False, error=np.inf)
    (text,) = said(least)
    assert "least of its range" in text and "dark" in text
    (text,) = said(CHOICE._replace(converged=False))
    assert "did not settle" in text and "more frames" in text
    (text,) = said(CHOICE, CHOICE._replace(converged=False))
    assert "in 1 of 2 frames" in text
    (text,) = said(CHOICE._replace(error=0.8))
    assert "80%" in text and "disagree" in text
    (text,) = said(CHOICE._replace(error=np.inf))
    assert "hardly known" in text
