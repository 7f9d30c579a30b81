import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests import reference
from tvjax.noise import Correlated, diagnose_noise, Gaussian, Poisson
from tvjax.stack.noise_check import check_noise_levels, FRAMES, mean_level

SHAPE, ENERGIES = (96, 112), 20
SCENE = gaussian_filter(reference.scene(*SHAPE), 3)
TRUTH = np.linspace(1, 2, ENERGIES)[:, None, None] * (1 + SCENE)
LEVELS = np.linspace(0.05, 0.2, ENERGIES)


def normal(seed, shape=TRUTH.shape):
    return np.random.default_rng(seed).normal(size=shape)


def noisy(seed=0):
    return TRUTH + LEVELS[:, None, None] * normal(seed)


def check(y, sigma, mask=None, *, by_frame=False):
    return check_noise_levels(y, sigma, mask, by_frame=by_frame)


@pytest.mark.parametrize("seed", range(5))
def test_the_right_levels_are_not_contradicted(seed):
    found = check(noisy(seed), LEVELS)
    assert isinstance(found.report.noise, Gaussian) and found.warnings == ()
    # nor are those of a scene with texture, which is no noise
    rough = noisy(seed) + 0.4 * gaussian_filter(normal(9, SHAPE), 1.0)
    assert check(rough, LEVELS).warnings == ()


def test_a_noise_that_all_energies_share_is_told():
    found = check(noisy() + 0.5 * normal(1, SHAPE), LEVELS)
    (sentence,) = found.warnings
    assert "all of them share" in sentence and "flat" in sentence


def test_frames_that_differ_by_more_than_noise_are_told():
    (sentence,) = check(noisy(), 4 * LEVELS).warnings
    assert "differ by more than noise" in sentence and "0.25" in sentence


def test_noise_whose_square_is_beyond_single_precision_is_not_contradicted():
    for scale in (1e-22, 1e-30):
        assert check(scale * noisy(), scale * LEVELS).warnings == ()


def test_of_few_energies_what_is_unusual_about_a_frame_is_told():
    blurred = TRUTH + gaussian_filter(normal(2), (0, 0.7, 0.7))
    found = check(blurred, LEVELS, by_frame=True)
    assert isinstance(found.report.noise, Correlated)
    (sentence,) = found.warnings
    assert sentence.startswith("frame 10: ") and "alike" in sentence
    # many energies have draws of their own noise, which are as correlated
    sigma = np.full(ENERGIES, mean_level(found.report, blurred[10], None))
    assert check(blurred, sigma).warnings == ()


def test_a_few_frames_are_read_and_no_others():
    class Stack:
        shape, dtype = TRUTH.shape, TRUTH.dtype
        read: list[slice] = []

        def __getitem__(self, place):
            self.read.append(place[0])
            return noisy()[place]

    check(Stack(), LEVELS)
    assert len(Stack.read) == FRAMES
    assert all(place.stop - place.start == 1 for place in Stack.read)


def test_invalid_pixels_take_no_part():
    mask = np.ones(SHAPE, bool)
    mask[:, 50] = mask[30] = False
    expected = check(np.where(mask, noisy(), 0), LEVELS, mask)
    found = check(np.where(mask, noisy(), np.nan), LEVELS, mask)
    assert found.report.asdict() == expected.report.asdict()


def test_the_level_is_that_of_all_pixels():
    counts = np.random.default_rng(3).poisson(20 * TRUTH[0])
    report = diagnose_noise(counts)
    assert isinstance(report.noise, Poisson)
    assert mean_level(report, counts, None) == pytest.approx(counts.mean() ** 0.5)
    mask = np.arange(SHAPE[0])[:, None] * np.ones(SHAPE) < 40
    expected = counts[mask].mean() ** 0.5
    assert mean_level(report, counts, mask) == pytest.approx(expected)


def test_frames_of_one_row_have_no_noise_to_see():
    assert check(TRUTH[:, :1], LEVELS) is None
