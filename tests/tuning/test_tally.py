import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.noise import Poisson
from tvjax.simulate import diffraction_image
from tvjax.solvers import solve
from tvjax.tuning.dealing import SplitFrames
from tvjax.tuning.tally import (
    BATCH,
    LEAST_BATCHES,
    MOST_BATCHES,
    MOST_RARE,
    SlopeTally,
    spread_batches,
)

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def frames():
    counts, _ = diffraction_image((160, 160), background=(0.3, 0.8), num_spots=12)
    return SplitFrames(jnp.asarray(counts, jnp.float32)[None], Poisson())


def tally(frames, key=KEY, **options):
    batches = spread_batches(frames.share)
    found = SlopeTally(frames, "uniform", "isotropic", key)
    found.take(batches, **options)
    return found


@pytest.mark.parametrize("number", [1, 3, 40, 3000])
@pytest.mark.parametrize("most", [MOST_BATCHES, MOST_RARE])
def test_batches_hold_every_block_alike_or_some_evenly_spread(number, most):
    batches = spread_batches(np.ones(number), most)
    assert batches.shape[1] == BATCH
    assert LEAST_BATCHES <= len(batches) <= most
    taken, times = np.unique(batches, return_counts=True)
    assert np.ptp(times) <= 1
    room = BATCH * most
    assert len(taken) == min(number, room)
    # no gap between blocks that are taken is twice as wide as another
    assert number <= room or np.ptp(np.diff(taken)) <= np.diff(taken).min()


def test_a_strip_or_a_block_in_shadow_is_left_out_and_half_a_block_is_not():
    share = np.asarray([100.0, 90, 5, 40])
    assert set(np.unique(spread_batches(share))) == {0, 1, 3}


def test_the_slope_is_that_of_the_risk(frames):
    found = tally(frames)
    risks = [found.slope(at)[0] for at in (-0.5, -0.3)]
    middle = found.slope(-0.4)[1] / frames.share.sum()
    # solves to 1e-3 of the objective, and a parabola
    assert (risks[1] - risks[0]) / 0.2 == pytest.approx(middle, rel=0.15)


def test_the_risk_is_the_error_against_the_held_out_share(frames):
    found = tally(frames)
    errors, number = 0.0, 0.0
    for _, sheet in found.dealt:
        parts = (sheet.seen, sheet.held_out, sheet.variance, sheet.weights)
        for seen, held_out, variance, weights in zip(*parts, strict=True):
            image = solve(seen, np.exp(0.1)).image
            errors += float(np.sum(weights * ((image - held_out) ** 2 - variance)))
            number += float(weights.sum())
    # the image of all windows in one is exact to a thousandth of its objective
    assert found.slope(0.1)[0] == pytest.approx(errors / number, rel=0.02)


def test_further_splits_go_where_the_error_is(frames):
    found = tally(frames, again=1)
    found.slope(-0.4)
    ruling = np.argmax(found._variance())
    assert found.splits[ruling] == found.splits.max() > LEAST_BATCHES * BATCH / 4


def test_the_chance_is_that_of_another_key(frames):
    found = [tally(frames, key) for key in jax.random.split(KEY, 8)]
    slopes = [one.slope(-0.4)[1] for one in found]
    chance = np.median([one.errors()[0] for one in found])
    # eight keys tell a deviation to a quarter
    assert 0.4 < np.std(slopes, ddof=1) / chance < 1.8


def test_caution_is_so_many_standard_errors_of_the_slope(frames):
    plain, careful = tally(frames), tally(frames, caution=2.0)
    slope, raised = plain.slope(-0.4)[1], careful.slope(-0.4)[1]
    assert raised - slope == pytest.approx(2 * plain.errors()[1], rel=1e-5)


def test_what_is_taken_later_joins_what_was_judged_before(frames):
    batches = spread_batches(frames.share)
    grown = SlopeTally(frames, "uniform", "isotropic", KEY)
    grown.take(batches[:2])
    few = grown.slope(-0.4)
    grown.take(batches)
    assert grown.slope(-0.4) == tally(frames).slope(-0.4) != few
    # another strength forgets nothing and mixes nothing
    assert grown.slope(-0.3) == tally(frames).slope(-0.3)
