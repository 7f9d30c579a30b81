import numpy as np
import pytest

from tests.plot.drawing import draw
from tvjax import plot

RADIUS = np.arange(1.0, 6.0)


@pytest.fixture
def agreement():
    scatter = np.full(5, 0.1)
    return plot.RingAgreement(RADIUS, 1 + scatter, scatter, np.linspace(1, 0, 5))


@pytest.fixture
def profile():
    before = np.exp(-RADIUS)
    error = np.array([0.1, 0.2, 0.0, 0.1, 0.5])
    return plot.RingProfile(RADIUS, before, before + 2 * error, error)


def test_agreement_stands_beside_what_noise_alone_makes(agreement):
    figure = plot.orbit_agreement(agreement)
    upper, lower = figure.axes
    measured = upper.lines[-1]
    assert measured.get_label() == "measured"
    np.testing.assert_array_equal(measured.get_data(), [RADIUS, agreement.ratio])
    bands = {band.get_label(): band for band in upper.collections}
    for times in (1, 3):
        area = bands[f"noise alone, {times}σ"].get_paths()[0].get_extents()
        np.testing.assert_allclose(
            [area.y0, area.y1], [1 - 0.1 * times, 1 + 0.1 * times]
        )
    (share,) = lower.lines
    np.testing.assert_array_equal(share.get_ydata(), agreement.share)
    assert lower.get_xlabel() == "radius (pixels)"
    draw(figure)


@pytest.mark.parametrize(("largest", "scale"), [(2.9, "linear"), (30.0, "log")])
def test_a_ring_far_from_the_noise_calls_for_a_logarithm(agreement, largest, scale):
    ratio = np.r_[agreement.ratio[:4], largest]
    figure = plot.orbit_agreement(agreement._replace(ratio=ratio))
    assert figure.axes[0].get_yscale() == scale
    draw(figure)


def test_the_profile_has_its_error_and_the_difference_in_units_of_it(profile):
    figure = plot.ring_profile(profile, unit="photons")
    upper, lower = figure.axes
    before, after = upper.lines
    np.testing.assert_array_equal(before.get_ydata(), profile.before)
    np.testing.assert_array_equal(after.get_ydata(), profile.after)
    assert upper.get_ylabel() == "mean (photons per pixel)"
    difference = lower.lines[-1]
    # a ring without an error has no difference in units of it
    np.testing.assert_array_equal(difference.get_xdata(), RADIUS[[0, 1, 3, 4]])
    np.testing.assert_allclose(difference.get_ydata(), 2)
    draw(figure)
