import numpy as np
import pytest

import tvjax
from tvjax.simulate import add_spot, scattering_pattern
from tvjax.symmetry import judge_symmetry

SHAPE = (128, 140)
POISSON = tvjax.Poisson()


def flat(mean, seed):
    return np.random.default_rng(seed).poisson(mean, (64, 72))


@pytest.mark.parametrize("mean", [0.05, 0.5, 5.0])
def test_chi_squared_has_its_mean_and_scatter_at_any_count(mean):
    found = [
        judge_symmetry(flat(mean, seed), "friedel", (31.5, 35.5), noise=POISSON)
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
        right = judge_symmetry(counts, group, (y, x), pattern.mask, POISSON)
        wrong = judge_symmetry(counts, group, (y + 1, x), pattern.mask, POISSON)
        assert right.holds and right.gain == 1
        assert not wrong.holds
        assert wrong.shift_significance < 1e-4
        assert wrong.shift[0] < -0.3
        assert "is refused" in wrong.report()


def test_a_smooth_asymmetry_is_refused():
    pattern = scattering_pattern("saxs", SHAPE, mean=2.0)
    rows = np.linspace(0.6, 1.4, SHAPE[0])[:, None]
    counts = np.random.default_rng(0).poisson(pattern.truth * rows)
    found = judge_symmetry(counts, "friedel", pattern.centre, pattern.mask, POISSON)
    assert not found.holds


def test_a_spot_without_a_partner_is_found_on_both_sides():
    plain = scattering_pattern("fibre", SHAPE, mean=2.0)
    place = (40, 20)
    level = plain.truth[38:43, 18:23].sum()
    pattern = add_spot(plain, place, 12 * level**0.5, 1.2)
    found = judge_symmetry(
        pattern.counts(0), "friedel", plain.centre, plain.mask, POISSON
    )
    image = tuple(int(2 * c - p) for c, p in zip(plain.centre, place, strict=True))
    assert found.broken[place] and found.broken[image]
    assert found.spot[place] and not found.spot[image]
    assert found.holds


def test_orbits_that_are_all_masked_are_named():
    mask = np.zeros((64, 72), bool)
    mask[:20] = True
    with pytest.raises(ValueError, match="its orbits are all masked"):
        judge_symmetry(flat(1.0, 0), "friedel", (31.5, 35.5), mask, POISSON)


@pytest.mark.parametrize("mean", [0.2, 1.0])
def test_pieces_of_a_ring_are_no_spots(mean):
    pattern = scattering_pattern("powder", SHAPE, mean=mean)
    for seed in range(3):
        found = judge_symmetry(
            pattern.counts(seed), "friedel", pattern.centre, pattern.mask, POISSON
        )
        assert np.mean(found.spot) < 1e-3
        assert found.broken_share < 0.01
