import numpy as np
import pytest

from tests.plot.drawing import draw
from tvjax import plot
from tvjax.diagnostics import autocorrelation, standardized_residual
from tvjax.simulate import diffraction_image

SPOT = 20, 25
ALPHAS = np.geomspace(0.1, 10, 5)


@pytest.fixture(scope="module")
def frame():
    """Counts with a dead column, a smooth stand-in for the denoised image, and mask."""
    before, after = diffraction_image((60, 80), num_spots=4)
    mask = np.ones(before.shape, bool)
    mask[:, 40] = False
    return np.where(mask, before, 2**32 - 1).astype(np.uint32), after, mask


def line(axes, label):
    """The line of that label."""
    (found,) = (line for line in axes.lines if label in line.get_label())
    return found


def test_both_images_share_one_scale_that_ignores_invalid_pixels(frame):
    before, after, mask = frame
    figure = plot.before_after(*frame, spot=SPOT)
    shown = [axes.images[0] for axes in figure.axes[:4]]
    assert len({image.norm for image in shown}) == 1
    norm = shown[0].norm
    # what one pixel in 200 exceeds before denoising
    assert norm.vmax == np.percentile(before[mask], 99.5)
    assert norm.vmin == 0
    for image, expected in zip(shown, (before, after) * 2, strict=True):
        drawn = image.get_array()
        np.testing.assert_array_equal(np.ma.getmaskarray(drawn), ~mask)
        np.testing.assert_array_equal(drawn.compressed(), expected[mask])
    draw(figure)


def test_the_panels_say_what_they_show(frame):
    figure = plot.before_after(*frame, spot=SPOT, unit="photons")
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["before", "after", *["framed square, enlarged"] * 2]
    assert figure.axes[4].get_ylabel() == "photons per pixel"


def test_without_a_spot_there_is_no_enlargement(frame):
    figure = plot.before_after(*frame)
    assert len([axes for axes in figure.axes if axes.images]) == 2
    assert not any(axes.patches for axes in figure.axes[:2])


def test_enlargement_is_centred_on_the_spot(frame):
    figure = plot.before_after(*frame, spot=SPOT, half_width=5)
    whole, detail = figure.axes[0], figure.axes[2]
    assert detail.get_xlim() == (SPOT[1] - 5.5, SPOT[1] + 5.5)
    assert detail.get_ylim() == (SPOT[0] + 5.5, SPOT[0] - 5.5)
    (square,) = whole.patches
    assert square.get_xy() == (SPOT[1] - 5.5, SPOT[0] - 5.5)
    assert square.get_width() == square.get_height() == 11


def test_chosen_strength_lies_on_the_risk_curve():
    risks, error = np.log(ALPHAS) ** 2, 0.1 * ALPHAS
    figure = plot.risk_curve(plot.RiskCurve(ALPHAS, risks, 0.3, error), unit="OD")
    (axes,) = figure.axes
    (x,), (y,) = line(axes, "chosen").get_data()
    assert x == 0.3
    np.testing.assert_allclose(y, np.interp(np.log(x), np.log(ALPHAS), risks))
    assert axes.get_xscale() == "log" and "(OD)" in axes.get_xlabel()
    (band,) = axes.collections
    corners = band.get_paths()[0].get_extents()
    # between the least of risk − error and the most of risk + error
    assert corners.y0 == pytest.approx((risks - error).min())
    assert corners.y1 == pytest.approx((risks + error).max())
    draw(figure)


def test_least_true_error_is_marked_between_the_strengths():
    for least in (1.2, 0.05):  # the latter beyond the first strength
        oracle = np.log(ALPHAS / least) ** 2
        figure = plot.risk_curve(plot.RiskCurve(ALPHAS, ALPHAS, 1.0, oracle=oracle))
        marker = line(figure.axes[0], "least true error")
        # a parabola in the logarithm is what this one is
        np.testing.assert_allclose(marker.get_xdata(), max(least, 0.1), rtol=1e-6)
        assert marker.get_label().endswith(f"= {max(least, 0.1)}")
        assert marker.get_ydata() == [0]


def test_risks_are_drawn_above_their_least_value():
    risks = np.log(ALPHAS) ** 2
    curve = plot.RiskCurve(ALPHAS, risks - 0.01, 1.0, oracle=risks + 0.01)
    (axes,) = plot.risk_curve(curve).axes
    for label in ("estimated", "true"):
        drawn = next(one for one in axes.lines if one.get_label().startswith(label))
        np.testing.assert_allclose(drawn.get_ydata(), risks, atol=1e-12)


def test_surfaces_share_one_vertical_axis(frame):
    before, after, mask = frame
    figure = plot.spot_surface(before, after, mask, spot=SPOT, truth=after)
    assert [axes.get_title() for axes in figure.axes] == ["before", "after", "truth"]
    assert len({axes.get_zlim() for axes in figure.axes}) == 1
    rows, columns = (slice(n - 10, n + 11) for n in SPOT)
    low, high = figure.axes[0].get_zlim()
    assert low == 0
    assert high == max(image[rows, columns].max() for image in (before, after))
    draw(figure)


def test_surface_at_the_corner_leaves_invalid_pixels_out(frame):
    before, after, mask = frame
    figure = plot.spot_surface(before, after, mask, spot=(1, 38))
    window = (slice(0, 12), slice(28, 49))
    seen = mask[window]
    high = max(image[window][seen].max() for image in (before, after))
    # the dead column holds four billions
    assert figure.axes[0].get_zlim()[1] == high
    draw(figure)


def test_residual_is_drawn_with_its_distribution_and_correlation(frame):
    before, after, mask = frame
    figure = plot.residual(before, after, after, mask)
    image, histogram, lags = figure.axes[:3]
    z = standardized_residual(before, after, after, mask)
    drawn = image.images[0].get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(drawn), ~np.isfinite(z))
    np.testing.assert_array_equal(drawn.compressed(), z[np.isfinite(z)])
    assert (image.images[0].norm.vmin, image.images[0].norm.vmax) == (-4, 4)
    normal = line(histogram, "unit normal")
    np.testing.assert_allclose(
        normal.get_ydata().max(), 1 / np.sqrt(2 * np.pi), rtol=1e-6
    )
    bars = np.array([bar.get_height() for bar in histogram.patches])
    width = histogram.patches[0].get_width()
    inside = np.abs(z[np.isfinite(z)]) < 5
    assert bars.sum() * width == pytest.approx(1)
    assert inside.mean() > 0.99
    (shown,) = lags.images
    expected = autocorrelation(z, 10)
    drawn = shown.get_array()
    assert np.ma.getmaskarray(drawn)[10, 10], "one by definition"
    assert drawn[9, 10] == expected[9, 10]
    draw(figure)


def test_a_residual_of_zero_has_no_width(frame):
    _, after, mask = frame
    figure = plot.residual(after, after, after, mask)
    label = figure.axes[1].patches[0].get_label()
    legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert any("deviation 0.00" in text for text in [label, *legend])
    draw(figure)


def test_constant_images_have_a_scale():
    flat = np.zeros((30, 30))
    figure = plot.before_after(flat, flat, flat == 0, spot=(15, 15))
    norm = figure.axes[0].images[0].norm
    assert (norm.vmin, norm.vmax) == (0, 1)
    draw(figure)
    figure = plot.spot_surface(flat, flat, flat == 0, spot=(15, 15))
    assert figure.axes[0].get_zlim() == (0, 1)
    draw(figure)


def test_every_split_is_drawn_and_the_error_of_the_choice_is_a_band():
    risks = np.log(ALPHAS) ** 2
    splits = np.stack([risks + 1, 1.2 * risks])
    curve = plot.RiskCurve(ALPHAS, risks, 0.5, splits=splits, chosen_error=0.1)
    figure = plot.risk_curve(curve)
    (axes,) = figure.axes
    thin = [drawn for drawn in axes.lines if drawn.get_linewidth() < 1]
    assert len(thin) == len(splits)
    # each above its own least value
    np.testing.assert_allclose(thin[0].get_ydata(), risks - risks.min())
    (band,) = axes.patches
    left, right = band.get_x(), band.get_x() + band.get_width()
    np.testing.assert_allclose([left, right], 0.5 * np.exp([-0.1, 0.1]))
    draw(figure)
