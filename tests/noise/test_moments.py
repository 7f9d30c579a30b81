import numpy as np
import pytest

from tvjax.noise.moments import moments_of_repeats, variance_line


def test_an_exact_line_is_found_exactly():
    mean = np.asarray([1.0, 4.0, 10.0, 50.0])
    slope, floor = variance_line(mean, 0.7 * mean + 3.0)
    assert slope == pytest.approx(0.7) and floor == pytest.approx(3.0)


def test_a_line_has_no_negative_end():
    mean = np.asarray([1.0, 2.0, 3.0])
    assert variance_line(mean, np.full(3, 2.0)) == pytest.approx((0, 2))
    slope, floor = variance_line(mean, 2 * mean - 1)
    assert floor == 0 and slope == pytest.approx(np.mean(2 * mean - 1) / 2, rel=0.2)


def test_repeats_have_the_moments_of_each_pixel():
    y = np.random.default_rng(3).normal(size=(5, 6, 7))
    mask = np.ones((6, 7), bool)
    mask[2] = False
    mean, variance, valid = moments_of_repeats(np.where(mask, y, np.nan), mask)
    np.testing.assert_allclose(mean[mask], y.mean(0)[mask])
    np.testing.assert_allclose(variance[mask], y.var(0, ddof=1)[mask])
    np.testing.assert_array_equal(valid, mask)


def test_what_is_no_repeat_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"at least two exposures .*, got 1"):
        moments_of_repeats(np.ones((1, 4, 4)), None)
    with pytest.raises(ValueError, match="leaves no valid pixel"):
        moments_of_repeats(np.ones((2, 4, 4)), np.zeros((4, 4), bool))
