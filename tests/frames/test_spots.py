import numpy as np
import pytest
from jax import numpy as jnp
from scipy.ndimage import label
from scipy.stats import binom, norm

from tvjax.frames.spots import binomial_deviate, clear_spots
from tvjax.noise import Gaussian, Poisson, PoissonGaussian

SIDE = 160
MIDDLE = SIDE // 2


def poisson(level, seed=0):
    """Counts of one frame."""
    counts = np.random.default_rng(seed).poisson(
        level, np.broadcast_shapes(np.shape(level), (1, SIDE, SIDE))
    )
    return jnp.asarray(counts, jnp.float32)


def blob(total, row=MIDDLE, column=MIDDLE, width=1.0):
    """The expected counts of a spot."""
    y, x = np.ogrid[:SIDE, :SIDE]
    shape = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))
    return total * shape / shape.sum()


def radius(row, column):
    y, x = np.ogrid[:SIDE, :SIDE]
    return np.hypot(y - row, x - column)


def spots(frames, noise=None, mask=None, **options):
    found = clear_spots(frames, noise or Poisson(), mask, **options)
    return np.asarray(found)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("tries", [5, 40, 1000, 100_000])
def test_deviate_has_the_tail_of_a_binomial(share, tries):
    deviation = np.sqrt(tries * share * (1 - share))
    inside = np.ceil(tries * share + deviation * np.array([2, 4, 6]) + 1)
    inside = inside[inside < tries]
    z = binomial_deviate(
        jnp.asarray(inside), jnp.asarray(tries - inside), jnp.full(len(inside), share)
    )
    chance = binom.sf(inside - 1, tries, share)
    # the expansion is of relative order 1/inside, and of a few percent for two counts
    np.testing.assert_allclose(norm.sf(np.asarray(z, float)), chance, rtol=0.06)


@pytest.mark.parametrize("level", [0.01, 0.1, 1.0, 30.0, 1000.0])
def test_false_spots_are_no_more_than_the_rate_says(level):
    rate, side, frames = 1e-4, 256, 2
    counts = np.random.default_rng(1).poisson(level, (frames, side, side))
    found = spots(jnp.asarray(counts, jnp.float32), false_rate=rate)
    # the least chance of more than so many of 13 expected is 1e-4
    assert sum(label(one)[1] for one in found) <= 28


@pytest.mark.parametrize("level", [0.01, 0.1, 1.0, 30.0, 1000.0])
def test_a_spot_of_ten_deviations_is_found_where_it_is(level):
    # nine tenths of a spot lie in 5 x 5 pixels: I² = 100 (I + 25 level)
    total = 50 + np.sqrt(2500 + 2500 * level)
    (found,) = spots(poisson(level + blob(total)))
    assert found[MIDDLE, MIDDLE]
    assert not np.any(found & (radius(MIDDLE, MIDDLE) > 12))
    # what belongs to it is no wider than its squares
    assert found.sum() < 120


def test_counts_times_a_gain_have_the_same_spots():
    counts = poisson(0.5 + blob(60))
    np.testing.assert_array_equal(spots(4 * counts, Poisson(4.0)), spots(counts))


@pytest.mark.parametrize(
    "noise",
    [Gaussian(2.0), Gaussian(np.full((SIDE, SIDE), 2.0)), PoissonGaussian(0.0, 2.0, 9)],
    ids=["one level", "a level a pixel", "mixed"],
)
def test_spots_stand_out_of_white_noise(noise):
    drawn = np.random.default_rng(0).normal(size=(SIDE, SIDE))
    frame = jnp.asarray(9 + blob(120) + 2 * drawn, jnp.float32)[None]
    (found,) = spots(frame, noise)
    assert found[MIDDLE, MIDDLE] and label(found)[1] == 1


def test_correlated_noise_raises_the_bar():
    drawn = np.random.default_rng(0).normal(size=(2 * SIDE, 2 * SIDE))
    blurred = np.repeat(np.repeat(drawn[: SIDE // 4, : SIDE // 4], 4, 0), 4, 1)
    assert not spots(jnp.asarray(blurred, jnp.float32)[None], Gaussian(1.0)).any()


def test_a_hot_pixel_is_no_spot_and_hides_none():
    frame = poisson(0.2 + blob(60))
    hot = frame.at[0, MIDDLE + 14, MIDDLE].set(65535).at[0, 20, 20].set(9)
    (found,) = spots(hot)
    assert found[MIDDLE, MIDDLE]
    assert not found[MIDDLE + 14, MIDDLE] and not found[20, 20]


@pytest.mark.parametrize("height", [3, 30, 300])
@pytest.mark.parametrize("width", [2.0, 5.0])
def test_a_smooth_ring_is_no_spot(height, width):
    ring = height * np.exp(-((radius(SIDE, SIDE) - 120) ** 2) / (2 * width**2))
    assert not spots(poisson(1 + ring)).any()


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("level", [0.3, 5.0, 200.0])
def test_the_edge_of_a_shadow_is_no_spot(level, angle):
    y, x = np.ogrid[:SIDE, :SIDE]
    bright = (y - MIDDLE) * np.cos(angle) + (x - MIDDLE) * np.sin(angle) > 0
    assert not spots(poisson(level * (0.02 + bright))).any()


def test_a_round_beam_stop_makes_no_spot():
    shadow = 1 / (1 + np.exp(-(radius(MIDDLE, MIDDLE) - 25)))
    halo = 1 + 4 * np.exp(-radius(MIDDLE, MIDDLE) / 30)
    assert not spots(poisson(halo * shadow)).any()


def test_invalid_pixels_count_nowhere():
    valid = np.ones((1, SIDE, SIDE), bool)
    valid[:, MIDDLE + 3 : MIDDLE + 20] = False  # a gap beside the spot
    frame = poisson(0.5 + blob(80))
    found = [
        spots(jnp.where(valid, frame, fill), mask=jnp.asarray(valid))
        for fill in (-1, 4e9, np.nan)
    ]
    assert found[0][0, MIDDLE, MIDDLE] and not np.any(found[0] & ~valid)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_each_frame_is_searched_on_its_own():
    frames = jnp.concatenate([poisson(0.5, 1), poisson(0.5 + blob(80), 2)])
    first, second = spots(frames)
    assert not first.any() and second[MIDDLE, MIDDLE]


def test_an_image_smaller_than_a_ring_has_no_known_level():
    assert not spots(jnp.ones((1, 5, 6))).any()


def test_a_rate_that_is_no_chance_is_refused():
    with pytest.raises(ValueError, match="`false_rate` must be between 0 and 1, got 0"):
        clear_spots(jnp.ones((1, 8, 8)), Poisson(), false_rate=0)
