from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from tvjax import plot
from tvjax.simulate import diffraction_image

SPOT = 20, 25


@pytest.fixture(scope="module")
def frame():
    """Counts with a dead column, a smooth stand-in for the denoised image, and mask."""
    before, after = diffraction_image((60, 80), num_spots=4)
    mask = np.ones(before.shape, bool)
    mask[:, 40] = False
    return np.where(mask, before, 2**32 - 1).astype(np.uint32), after, mask


def pixels(figure):
    file = BytesIO()
    plot.save(figure, file)
    file.seek(0)
    return imread(file)


def test_both_images_share_one_scale_that_ignores_invalid_pixels(frame):
    figure = plot.before_after(*frame, spot=SPOT)
    norms = {image.norm for axes in figure.axes for image in axes.images}
    assert len(norms) == 1
    assert norms.pop().vmax < 1000
    assert pixels(figure).std() > 0.1


def test_without_a_spot_there_is_no_enlargement(frame):
    figure = plot.before_after(*frame)
    assert len([axes for axes in figure.axes if axes.images]) == 2


def test_enlargement_is_centred_on_the_spot(frame):
    figure = plot.before_after(*frame, spot=SPOT, half_width=5)
    detail = figure.axes[2]
    assert np.mean(detail.get_xlim()) == SPOT[1]
    assert np.mean(detail.get_ylim()) == SPOT[0]


def test_chosen_strength_lies_on_the_risk_curve():
    alphas = np.geomspace(0.1, 10, 5)
    figure = plot.risk_curve(alphas, np.log(alphas) ** 2, 0.3, error=0.1 * alphas)
    (axes,) = figure.axes
    (marker,) = (line for line in axes.lines if "chosen" in line.get_label())
    (x,), (y,) = marker.get_data()
    assert x == 0.3
    np.testing.assert_allclose(
        y, np.interp(np.log(x), np.log(alphas), axes.lines[0].get_ydata())
    )
    assert pixels(figure).std() > 0.05


def test_least_true_error_is_marked_between_the_strengths():
    alphas = np.geomspace(0.1, 10, 5)
    for least in (1.2, 0.05):  # the latter beyond the first strength
        oracle = np.log(alphas / least) ** 2
        figure = plot.risk_curve(alphas, alphas, 1.0, oracle=oracle)
        labels = [line.get_label() for line in figure.axes[0].lines]
        marked = f"= {max(least, 0.1)}"
        assert any(label.endswith(marked) and "least" in label for label in labels)


def test_risks_are_drawn_above_their_least_value():
    alphas = np.geomspace(0.1, 10, 5)
    risks = np.log(alphas) ** 2
    figure = plot.risk_curve(alphas, risks - 0.01, 1.0, oracle=risks + 0.01)
    estimated, true = figure.axes[0].lines[:2]
    np.testing.assert_allclose(estimated.get_ydata(), risks, atol=1e-12)
    np.testing.assert_allclose(true.get_ydata(), risks, atol=1e-12)
    assert pixels(figure).std() > 0.05


def test_surfaces_share_one_vertical_axis(frame):
    before, after, mask = frame
    figure = plot.spot_surface(before, after, mask, spot=SPOT, truth=after)
    assert len(figure.axes) == 3
    assert len({axes.get_zlim() for axes in figure.axes}) == 1
    assert pixels(figure).std() > 0.05


def test_surface_at_the_corner_with_invalid_pixels_is_drawn(frame):
    before, after, mask = frame
    figure = plot.spot_surface(before, after, mask, spot=(1, 38))
    assert figure.axes[0].get_zlim()[1] < 1000
    assert pixels(figure).std() > 0.05


def test_residual_of_noise_is_drawn_beside_the_unit_normal(frame):
    before, after, mask = frame
    figure = plot.residual(before, after, after, mask)
    assert "unit normal" in [line.get_label() for line in figure.axes[1].lines]
    assert pixels(figure).std() > 0.05


def test_a_residual_of_zero_is_drawn(frame):
    _, after, mask = frame
    assert pixels(plot.residual(after, after, after, mask)).std() > 0.05


def test_constant_images_are_drawn():
    flat = np.zeros((30, 30))
    pixels(plot.before_after(flat, flat, flat == 0, spot=(15, 15)))
    pixels(plot.spot_surface(flat, flat, flat == 0, spot=(15, 15)))
