import numpy as np
import pytest

from tvjax.diagnostics import autocorrelation, standardized_residual, weakest_spot
from tvjax.simulate import diffraction_image


def test_residual_is_in_units_of_the_noise_and_nan_where_invalid():
    before = np.asarray([[4, 9, 2, 2**32 - 1]], np.uint32)
    after = np.asarray([[2.0, 12.0, 2.0, 0.0]])
    variance = np.asarray([[4.0, 9.0, 0.0, 1.0]])
    mask = np.asarray([[True, True, True, False]])
    z = standardized_residual(before, after, variance, mask)
    np.testing.assert_array_equal(z, [[1, -1, np.nan, np.nan]])


def test_autocorrelation_agrees_with_sums_over_pairs():
    z = np.random.default_rng(0).normal(size=(9, 7))
    z[2, 3] = np.nan
    correlation = autocorrelation(z, 2)
    centred = z - np.nanmean(z)
    covariance = np.nanmean(centred[1:, :-2] * centred[:-1, 2:])
    expected = covariance / np.nanmean(centred**2)
    np.testing.assert_allclose(correlation[3, 0], expected)
    np.testing.assert_allclose(correlation, correlation[::-1, ::-1])
    assert correlation[2, 2] == 1


def test_one_bright_pixel_does_not_rule_the_autocorrelation():
    z = np.random.default_rng(0).normal(size=(64, 64))
    expected = autocorrelation(z, 1)
    z[32, 32] = 1e6
    # One of 4096 pixels, cut at five deviations, moves a correlation by some 1e-3.
    np.testing.assert_allclose(autocorrelation(z, 1), expected, atol=0.01)


@pytest.fixture
def image():
    """Two spots of 80 and of 800 counts, and a defect, on two counts per pixel."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :120]
    truth = np.full(y.shape, 2.0)
    for row, column, counts in ((30, 40, 80), (60, 85, 800)):
        distance = (y - row) ** 2 + (x - column) ** 2
        truth += counts * np.exp(-distance / 2) / (2 * np.pi)
    counts = rng.poisson(truth)
    counts[70, 30] += 90
    return counts


def test_the_fainter_spot_is_found_and_the_defect_is_not(image):
    y, x = weakest_spot(image, np.ones(image.shape, bool))
    assert abs(y - 30) <= 1 and abs(x - 40) <= 1


def test_a_spot_near_an_invalid_pixel_is_passed_over(image):
    mask = np.ones(image.shape, bool)
    mask[30, 48] = False
    y, x = weakest_spot(np.where(mask, image, 2**32 - 1), mask)
    assert abs(y - 60) <= 1 and abs(x - 85) <= 1


def test_the_choice_does_not_depend_on_the_gain(image):
    mask = np.ones(image.shape, bool)
    assert weakest_spot(16 * image, mask) == weakest_spot(image, mask)


def test_no_spot_is_found_in_noise():
    counts, _ = diffraction_image((200, 200), num_spots=0)
    assert weakest_spot(counts, np.ones(counts.shape, bool)) is None
    assert weakest_spot(0 * counts, np.ones(counts.shape, bool)) is None


def test_an_image_smaller_than_the_surroundings_has_no_spot():
    assert weakest_spot(np.ones((20, 200)), np.ones((20, 200), bool)) is None
