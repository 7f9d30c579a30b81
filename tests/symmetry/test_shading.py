import numpy as np
import pytest

import tvjax
from tvjax.simulate import add_spot, scattering_pattern
from tvjax.simulate.scattering import Pattern
from tvjax.symmetry import judge_symmetry

pytestmark = pytest.mark.slow

SHAPE = (128, 140)
POISSON = tvjax.Poisson()


def shade(pattern):
    """A detector that is 20 % more sensitive at one side than at the other."""
    factor = np.linspace(0.9, 1.1, SHAPE[1])
    return Pattern(pattern.truth * factor, pattern.mask, pattern.centre, pattern.group)


def mse(x, pattern):
    return np.mean((np.asarray(x) - pattern.truth)[pattern.mask] ** 2)


@pytest.mark.parametrize("kind, group", [("saxs", "azimuthal"), ("crystal", "friedel")])
def test_a_symmetry_holds_up_to_the_smooth_factor_on_it(kind, group):
    pattern = shade(scattering_pattern(kind, SHAPE, mean=20.0))
    y, centre, mask = pattern.counts(0), pattern.centre, pattern.mask
    given = {"group": group, "centre": centre, "noise": POISSON, "mask": mask}
    assert not judge_symmetry(y, **given).holds
    found = judge_symmetry(y, **given, shaded=True)
    assert found.gain > 0.9
    assert found.broken_share < 0.05
    # mean over the orbit: one, but for the mask
    expected = np.broadcast_to(np.linspace(0.9, 1.1, SHAPE[1]), SHAPE)
    inner = pattern.mask & (np.abs(np.arange(SHAPE[1]) - centre[1]) < 50)
    # some have no valid partner, and with themselves they agree
    assert np.mean(np.abs(found.shading - expected)[inner]) < 0.02


def test_a_shaded_pattern_is_denoised_by_its_symmetry():
    pattern = shade(scattering_pattern("crystal", SHAPE, mean=5.0))
    y, mask = pattern.counts(1), pattern.mask
    own = tvjax.denoise(y, noise=POISSON, mask=mask)
    both = tvjax.denoise_symmetric(
        y, noise=POISSON, group="friedel", centre=pattern.centre, mask=mask
    )
    assert both.imperfect and both.fallback.helps
    assert mse(both.image, pattern) < 0.8 * mse(own.image, pattern)
    assert "risk" in both.report() and "imperfect" in both.report()


def test_a_spot_stands_out_from_a_shaded_pattern():
    plain = shade(scattering_pattern("crystal", SHAPE, mean=5.0))
    place = (40, 20)
    square = (slice(38, 43), slice(18, 23))
    level = plain.truth[square].sum()
    pattern = add_spot(plain, place, 12 * level**0.5, 1.2)
    y = pattern.counts(0)
    given = {"group": "friedel", "centre": plain.centre}
    given |= {"noise": POISSON, "mask": plain.mask}
    found = judge_symmetry(y, **given, shaded=True)
    assert found.broken[place]
    both = tvjax.denoise_symmetric(y, **given)
    left = (both.image[square].sum() - level) / (y[square].sum() - level)
    assert left > 0.7


def test_a_pattern_without_the_symmetry_is_left_to_its_own():
    rng = np.random.default_rng(0)
    other = scattering_pattern("crystal", SHAPE, mean=5.0, seed=3)
    truth = other.truth.copy()
    half = truth[: SHAPE[0] // 2]
    truth[: SHAPE[0] // 2] = half[:, rng.permutation(SHAPE[1])]
    y = rng.poisson(truth)
    given = {"centre": other.centre, "noise": POISSON, "mask": other.mask}
    with pytest.raises(ValueError, match="the data refuse 'friedel'"):
        tvjax.denoise_symmetric(y, group="friedel", **given)
    free = tvjax.denoise_symmetric(y, **given)
    own = tvjax.denoise(y, noise=POISSON, mask=other.mask)
    errors = [np.mean((x.image - truth)[other.mask] ** 2) for x in (free, own)]
    assert errors[0] < 1.02 * errors[1]
