import numpy as np
import pytest

import tvjax
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import judge_symmetry
from tvjax.symmetry.agreement import _chance

SHAPE = (128, 140)
POISSON = tvjax.Poisson()


def flat(mean, seed):
    return np.random.default_rng(seed).poisson(mean, (64, 72))


@pytest.mark.parametrize("mean", [pytest.param(0.05, marks=pytest.mark.slow), 0.5, 5.0])
def test_chi_squared_has_its_mean_and_scatter_at_any_count(mean):
    found = [
        judge_symmetry(
            flat(mean, seed), group="friedel", centre=(31.5, 35.5), noise=POISSON
        )
        for seed in range(40)
    ]
    excess = [np.sum(a.chi_squared - a.freedom) for a in found]
    scatter = [np.sqrt(np.sum(a.scatter**2)) for a in found]
    score = np.asarray(excess) / scatter
    # 40 draws: the mean within 4 standard errors, the deviation within 4 of 11 %
    assert abs(score.mean()) < 4 / 40**0.5
    assert 0.55 < score.std() < 1.45
    assert np.mean([a.holds for a in found]) > 0.9


@pytest.mark.parametrize("kind, group", [("crystal", "friedel"), ("saxs", "azimuthal")])
def test_a_centre_off_by_a_pixel_is_refused_and_the_right_one_is_not(kind, group):
    pattern = scattering_pattern(kind, SHAPE, mean=2.0)
    y, x = pattern.centre
    for seed in range(4):
        counts = pattern.counts(seed)
        given = {"group": group, "noise": POISSON, "mask": pattern.mask}
        right = judge_symmetry(counts, centre=(y, x), **given)
        wrong = judge_symmetry(counts, centre=(y + 1, x), **given)
        assert right.holds and right.gain == 1
        assert not wrong.holds
        assert wrong.shift_significance < 1e-4
        assert wrong.shift[0] < -0.3
        assert "is refused" in wrong.report()


def test_a_smooth_asymmetry_is_refused():
    pattern = scattering_pattern("saxs", SHAPE, mean=2.0)
    rows = np.linspace(0.6, 1.4, SHAPE[0])[:, None]
    counts = np.random.default_rng(0).poisson(pattern.truth * rows)
    found = judge_symmetry(
        counts,
        group="friedel",
        centre=pattern.centre,
        noise=POISSON,
        mask=pattern.mask,
    )
    assert not found.holds


def test_orbits_that_are_all_masked_are_named():
    mask = np.zeros((64, 72), bool)
    mask[:20] = True
    with pytest.raises(ValueError, match="its orbits are all masked"):
        judge_symmetry(
            flat(1.0, 0),
            group="friedel",
            centre=(31.5, 35.5),
            noise=POISSON,
            mask=mask,
        )


def test_what_is_far_beyond_chance_has_none_in_single_precision_either():
    huge = (np.asarray(z, np.float32) for z in ([1e32, 1.0], [1e9, 1.0], [1e4, 1.0]))
    chance = _chance(*huge)
    # the other is exponential: of mean and deviation one
    np.testing.assert_allclose(chance, [0, np.exp(-1)], rtol=1e-5)
