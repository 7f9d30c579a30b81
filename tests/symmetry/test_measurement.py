import jax
import numpy as np
import pytest

import tvjax
from tvjax.symmetry.measurement import (
    as_diagnosed,
    as_measurement,
    check_centre,
    is_within,
)


def test_counts_bring_their_noise_and_invalid_pixels_are_zero():
    counts = np.random.default_rng(0).poisson(3.0, (40, 44))
    mask = np.random.default_rng(1).random(counts.shape) > 0.1
    measured = as_measurement(counts, noise=None, mask=mask)
    assert isinstance(measured.noise, tvjax.Poisson)
    assert measured.image.dtype == np.float32
    np.testing.assert_array_equal(measured.image, np.where(mask, counts, 0))
    np.testing.assert_array_equal(measured.mask, mask)
    whole = as_measurement(counts + np.float32(0.3), noise=None, mask=None)
    assert isinstance(whole.noise, tvjax.Gaussian)
    assert whole.mask.shape == counts.shape and whole.mask.all()


def test_what_the_noise_is_recognised_by_comes_with_it_unless_it_is_given():
    counts = np.random.default_rng(0).poisson(3.0, (40, 44))
    measured, report = as_diagnosed(counts, noise=None, mask=None)
    assert report.noise is measured.noise
    given = tvjax.Poisson()
    measured, report = as_diagnosed(counts, noise=given, mask=None)
    assert report is None and measured.noise is given


def test_invalid_values_may_be_anything():
    y, mask = np.ones((8, 9)), np.ones((8, 9), bool)
    y[2, 3], mask[2, 3] = np.nan, False
    measured = as_measurement(y, noise=tvjax.Gaussian(1.0), mask=mask)
    assert measured.image[2, 3] == 0


@pytest.mark.parametrize(
    "y, noise, mask, sentence",
    [
        (np.ones((2, 8, 8)), None, None, "one by one"),
        (np.full((8, 8), np.inf), None, None, "64 valid pixels of `y` are NaN"),
        (np.ones((8, 8)), None, np.ones((8, 9), bool), "`mask` must have the shape"),
        (np.ones((8, 8)), None, np.zeros((8, 8), bool), "leaves no valid pixel"),
        (np.ones((8, 8)), 1.0, None, "`noise` must be a noise model"),
    ],
)
def test_bad_input_is_named(y, noise, mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_measurement(y, noise=noise, mask=mask)


def test_only_the_beam_of_rings_may_pass_beside_the_image():
    assert is_within((-0.5, 19.5), (10, 20), outside=False)
    assert not is_within((-0.6, 3.0), (10, 20), outside=False)
    assert is_within((-10.5, 39.5), (10, 20), outside=True)
    assert not is_within((-10.6, 3.0), (10, 20), outside=True)
    with pytest.raises(ValueError, match="`centre` must lie in the image of shape"):
        check_centre((12.0, 3.0), (10, 20), outside=False)


def test_a_measurement_passes_through_a_program():
    measured = as_measurement(np.ones((4, 5)), noise=tvjax.Poisson(2.0), mask=None)
    doubled = jax.jit(lambda m: m._replace(image=2 * m.image))(measured)
    np.testing.assert_array_equal(doubled.image, 2)
    assert doubled.noise.gain == 2
