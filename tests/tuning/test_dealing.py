import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.noise import Gaussian, Poisson
from tvjax.tuning.blocks import SIDE
from tvjax.tuning.dealing import (
    noise_of_frame,
    PHOTON,
    RepeatedFrames,
    SEEN,
    SplitFrames,
)

KEY = jax.random.key(0)
SHAPE = (2, 200, 150)
BLOCKS = np.asarray([0, 3, 7])


@pytest.fixture(scope="module")
def counts():
    drawn = np.random.default_rng(0).poisson(3.0, SHAPE)
    return jnp.asarray(drawn, jnp.float32)


def test_the_shares_of_a_block_add_up_to_its_data(counts):
    frames = SplitFrames(counts, Poisson())
    sheet = frames.deal(BLOCKS, "uniform", KEY)
    whole = SEEN * sheet.seen + (1 - SEEN) * sheet.held_out
    np.testing.assert_allclose(whole, frames.blocks.cut(counts, BLOCKS), atol=1e-5)
    np.testing.assert_array_equal(frames.deal(BLOCKS, "uniform", KEY).seen, sheet.seen)


def test_only_the_pixels_of_a_block_that_may_judge_count(counts):
    valid = np.ones(SHAPE, bool)
    valid[:, 20:30] = False
    judges = np.ones(SHAPE, bool)
    judges[1, 5, 7] = False
    frames = SplitFrames(counts, Poisson(), jnp.asarray(valid), jnp.asarray(judges))
    every = np.arange(frames.blocks.number)
    sheet = frames.deal(every, "uniform", KEY)
    number = np.asarray(sheet.weights.sum((1, 2)))
    np.testing.assert_array_equal(number, frames.share)
    assert frames.share.sum() == valid.sum() - 1
    # a pixel that has no say is denoised all the same
    assert sheet.mask.sum() > number.sum()


def test_a_weight_has_not_seen_the_photons_that_judge(counts):
    frames = SplitFrames(counts, Poisson())
    weights, held_out, inner = [], [], []
    for key in jax.random.split(KEY, 4):
        sheet = frames.deal(BLOCKS, "variance", key)
        inner.append(np.asarray(sheet.weights > 0))
        weights.append(np.asarray(sheet.weights))
        held_out.append(np.asarray(sheet.held_out))
    chosen = np.asarray(inner)
    related = np.corrcoef(np.asarray(weights)[chosen], np.asarray(held_out)[chosen])
    # of n independent pairs: four deviations
    assert abs(related[0, 1]) < 4 / np.sqrt(chosen.sum())


def test_the_deviation_is_that_of_the_noise_and_no_less_than_of_a_photon(counts):
    assert SplitFrames(counts, Gaussian(2.0)).deviation() == pytest.approx(2, rel=1e-5)
    rare = SplitFrames(jnp.zeros(SHAPE).at[0, 3, 3].set(1), Poisson())
    assert rare.deviation() >= PHOTON
    bright = SplitFrames(counts, Poisson()).deviation()
    assert bright == pytest.approx(np.hypot(3**0.5, PHOTON), rel=0.1)
    assert SplitFrames(counts, Gaussian(0.0)).deviation() > 0
    # at a quarter of the exposure, by its root, and where photons are rare by itself
    white = SplitFrames(counts, Gaussian(2.0)).deviation(0.25)
    assert white == pytest.approx(4, rel=1e-5)
    assert rare.deviation(0.25) == pytest.approx(4 * rare.deviation(), rel=0.02)


def test_blocks_take_the_noise_of_their_pixels(counts):
    levels = jnp.ones(SHAPE).at[:, SIDE:].set(5.0)
    frames = SplitFrames(counts, Gaussian(levels))
    sheet = frames.deal(np.asarray([0, 2]), "uniform", KEY)
    top, bottom = np.asarray(sheet.variance * sheet.weights).max((1, 2))
    assert bottom == pytest.approx(25 * top)


def test_repeats_judge_each_other_by_the_mean_of_those_that_are_valid():
    y = np.random.default_rng(1).normal(size=(3, 20, 30)).astype(np.float32)
    mask = np.ones(y.shape, bool)
    mask[2, 4, 5] = mask[:2, 6, 7] = False
    frames = RepeatedFrames(jnp.asarray(y), Gaussian(1.0), jnp.asarray(mask))
    sheet = frames.deal(np.arange(3), "uniform", KEY)
    np.testing.assert_array_equal(sheet.seen[0], np.where(mask[0], y[0], 0))
    np.testing.assert_allclose(sheet.held_out[0, 9, 9], y[1:, 9, 9].mean(), rtol=1e-5)
    np.testing.assert_allclose(sheet.held_out[0, 4, 5], y[1, 4, 5], rtol=1e-5)
    # what one exposure alone has seen has no judge
    assert sheet.weights[2, 6, 7] == 0 and sheet.weights[2, 9, 9] == 1
    variance = y[:, 9, 9].var(ddof=1) / 2
    np.testing.assert_allclose(sheet.variance[:, 9, 9], variance, rtol=1e-4)


def test_a_level_for_each_pixel_or_frame_goes_with_its_frame():
    levels = jnp.arange(1.0, 3.0)[:, None, None]
    assert noise_of_frame(Gaussian(levels), 1, (2, 8, 8)).sigma.item() == 2
    maps = Gaussian(levels * jnp.ones((2, 8, 8)))
    assert noise_of_frame(maps, 0, (2, 8, 8)).sigma.shape == (1, 8, 8)
    assert noise_of_frame(Gaussian(3.0), 1, (2, 8, 8)).sigma == 3
