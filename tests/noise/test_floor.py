import numpy as np
import pytest

from tvjax.noise.blocks import BlockPowers
from tvjax.noise.floor import by_mean, floor_of, floors_of


def made(power, activity=None, mean=None, freedom=16.0):
    power = np.asarray(power, float)
    ones = np.ones_like(power)
    return BlockPowers(
        mean=ones if mean is None else np.asarray(mean, float),
        power=power,
        freedom=freedom * ones,
        activity=ones if activity is None else np.asarray(activity, float),
        coarse=2 * power,
        finest=power / 2,
        places=np.zeros((len(power), 3)),
    )


def chi_square(count, seed=0, freedom=16):
    return np.random.default_rng(seed).chisquare(freedom, count) / freedom


def test_of_white_noise_all_blocks_agree():
    shares = []
    for seed in range(20):
        activity = np.random.default_rng(100 + seed).random(1000)
        variance, error, quiet = floor_of(made(chi_square(1000, seed), activity))
        # of the blocks that agree the mean is the variance
        assert variance == pytest.approx(1, abs=5 * error)
        shares.append(len(quiet.mean) / 1000)
    assert np.mean(shares) > 0.5


def test_structure_is_above_the_floor():
    power = chi_square(1000)
    steep = np.arange(1000) >= 300
    power[steep] += 5
    variance, error, quiet = floor_of(made(power, activity=1.0 + steep))
    assert variance == pytest.approx(1, abs=5 * error)
    assert len(quiet.mean) <= 300


def test_the_error_is_that_of_the_squares():
    _, error, quiet = floor_of(made(np.ones(100)))
    assert error == pytest.approx((2 / (16 * 100)) ** 0.5) and len(quiet.mean) == 100


def test_groups_are_of_about_the_same_mean():
    mean = np.random.default_rng(1).random(960)
    groups = by_mean(made(np.ones(960), mean=mean))
    assert len(groups) == 10
    tops = [group.mean.max() for group in groups[:-1]]
    assert (tops <= np.asarray([group.mean.min() for group in groups[1:]])).all()
    assert len(by_mean(made(np.ones(5)))) == 1
    assert by_mean(made([])) == []


def test_a_shadow_has_a_group_of_its_own_unless_it_is_too_small_to_tell():
    mean = np.r_[np.full(900, 400.0), np.full(60, 90.0), np.full(40, 3.0)]
    groups = by_mean(made(mean, mean=mean))
    assert [set(group.mean) for group in groups[:3]] == [{3}, {90}, {400}]
    assert sum(len(group.mean) for group in groups) == len(mean)
    few = np.r_[np.full(950, 400.0), np.full(12, 3.0)]  # 192 degrees of freedom
    assert len(by_mean(made(few, mean=few))[0].mean) > 90
    # half the mean is no other mean where chance makes it
    noisy = np.random.default_rng(3).normal(1, 0.25, 960)
    assert len(by_mean(made(np.ones(960), mean=noisy))) == 10


def test_scales_are_relative_to_the_floor():
    floors = floors_of([made(np.full(64, 3.0), mean=np.full(64, 7.0))])
    assert floors.mean == 7 and floors.variance == 3 and floors.share == 1
    assert floors.coarse == 2 and floors.finest == 0.5
