import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from tvjax.noise.survey import relative_to, scale_ratio, survey_noise
from tvjax.noise.variance_fit import Law


def test_floors_follow_the_variance():
    mean = 20 + 200 * np.indices((256, 256))[1] / 256
    survey = survey_noise(np.random.default_rng(0).poisson(mean))
    assert len(survey.floors.mean) == 10
    # floors of 5 to 9 % each
    np.testing.assert_allclose(survey.floors.variance, survey.floors.mean, rtol=0.25)


def test_sparse_counts_have_larger_blocks():
    rng = np.random.default_rng(1)
    assert len(survey_noise(rng.poisson(5.0, (256, 256))).blocks.mean) == 32**2
    assert len(survey_noise(rng.poisson(0.01, (256, 256))).blocks.mean) == 4**2


def test_relative_blocks_have_the_law_as_their_unit():
    mean = 20 + 200 * np.indices((256, 256))[1] / 256
    survey = survey_noise(2 * np.random.default_rng(2).poisson(mean))
    relative = relative_to(survey.blocks, Law(0, 2, 0, 0))
    for power in (relative.power, relative.coarse, relative.finest):
        assert power.mean() == pytest.approx(1, rel=0.06)


def test_scale_ratio_is_one_for_white_noise_and_more_for_smooth():
    white = np.random.default_rng(3).normal(size=(256, 256))
    law = Law(1, 0, 0, 0)
    assert scale_ratio(survey_noise(white), law) == pytest.approx(1, rel=0.15)
    smooth = uniform_filter(white, 2)
    # [1 2 1] over squares against [1 -2 1]: (20/6 · 6/2)... from the filters' powers
    taps = np.asarray([1, -2, 1]) / 6**0.5
    fine = np.sum(np.convolve(taps, [0.5, 0.5]) ** 2) ** 2
    coarse = np.sum(np.convolve(np.repeat(taps, 2), [0.5, 0.5]) ** 2) ** 2 / 4
    found = scale_ratio(survey_noise(smooth), law)
    assert found == pytest.approx(coarse / fine, rel=0.15)


def test_small_images_have_no_scales():
    law = Law(1, 0, 0, 0)
    small = survey_noise(np.random.default_rng(4).normal(size=(12, 12)))
    assert np.isnan(scale_ratio(small, law))
