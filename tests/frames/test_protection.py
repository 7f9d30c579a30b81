import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax import solve
from tvjax.frames.protection import FACTORS, protect
from tvjax.noise import Gaussian, Poisson
from tvjax.simulate import diffraction_image

KEY = jax.random.key(0)
ALPHA = jnp.asarray(2.0)


def scene(num_spots, background=1.0, seed=0):
    """Frames of spots of 40 to 100 counts, and their truth."""
    counts, truth = diffraction_image(
        (192, 192),
        background=(background, background),
        num_spots=num_spots,
        spot_counts=(40, 100),
        seed=seed,
    )
    return jnp.asarray(counts[None], jnp.float32), truth


def test_spots_lose_less_where_they_are_protected():
    frames, truth = scene(12)
    found = protect(frames, Poisson(), None, ALPHA, key=KEY)
    kept, factor = np.asarray(found.kept[0]), np.asarray(found.factor[0])
    plain = np.asarray(solve(frames[0], ALPHA).image)
    protected = np.asarray(solve(frames[0], ALPHA * found.factor[0]).image)
    spot = truth > 2  # of a background of 1
    lost = [
        np.sum((truth - x)[spot]) / np.sum((truth - 1)[spot])
        for x in (plain, protected)
    ]
    # alpha takes 4 counts for each side of a pixel's length from spots of 40 to 100
    assert lost[0] > 0.2
    # at half the strength a spot loses half as much at its border, and its top as well
    assert lost[1] < 0.75 * lost[0]
    assert set(np.unique(factor)) == {factor.min(), 1} and factor.min() in FACTORS
    np.testing.assert_array_equal(kept, factor < 1)


def test_without_spots_nothing_is_kept():
    frames, _ = scene(0)
    found = protect(frames, Poisson(), None, ALPHA, key=KEY)
    assert not found.kept.any() and np.all(found.factor == 1)


def test_no_strength_cannot_be_lowered():
    frames = jnp.asarray(
        diffraction_image(
            (96, 96),
            background=(400, 400),
            num_spots=2,
            spot_counts=(3000, 3000),
            seed=3,
        )[0][None],
        jnp.float32,
    )
    kept = protect(
        frames, Poisson(), None, jnp.asarray(0.0), key=KEY
    ).kept  # all errors are equal
    assert not kept.any()


def test_the_chosen_factor_is_the_same_for_all_frames():
    frames = jnp.concatenate([scene(12)[0], scene(0, seed=1)[0], scene(9, seed=2)[0]])
    alphas = jnp.asarray([2.0, 1.0, 1.5])
    found = protect(frames, Poisson(), None, alphas, key=KEY)
    assert list(np.asarray(found.kept.any((1, 2)))) == [True, False, True]
    assert len(np.unique(found.factor)) == 2


@pytest.mark.parametrize(
    "shape", [(), pytest.param((1, 192, 192), marks=pytest.mark.slow)]
)
def test_white_noise_may_have_a_level_a_pixel(shape):
    _, truth = scene(12)
    drawn = np.random.default_rng(0).normal(size=truth.shape)
    frames = jnp.asarray((truth + drawn)[None], jnp.float32)
    found = protect(frames, Gaussian(jnp.ones(shape)), None, ALPHA, key=KEY)
    assert found.kept.any()
    # chance lifts one sum of a spot's squares in a thousand by three deviations
    assert np.mean(truth[np.asarray(found.kept[0])] > 1.001) > 0.98


def test_invalid_pixels_have_no_part():
    frames, _ = scene(12)
    valid = jnp.ones(frames.shape, bool).at[:, 60:77].set(False)
    one, other = (
        protect(jnp.where(valid, frames, fill), Poisson(), valid, ALPHA, key=KEY)
        for fill in (-1.0, np.nan)
    )
    assert one.kept.any() and not np.any(one.kept & ~valid)
    np.testing.assert_array_equal(one.factor, other.factor)


def test_a_multiple_that_is_given_is_not_chosen():
    frames, _ = scene(12)
    found = protect(frames, Poisson(), None, ALPHA, multiple=0.3, key=KEY)
    assert found.multiple == 0.3 and found.factor.min() == np.float32(0.3)
    one = protect(frames, Poisson(), None, ALPHA, multiple=1.0, key=KEY)
    assert one.multiple == 1 and not one.kept.any()
    with pytest.raises(ValueError, match="between 0 and 1, got 1.5"):
        protect(frames, Poisson(), None, ALPHA, multiple=1.5, key=KEY)
