import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.plot.drawing import draw
from tvjax import plot
from tvjax.plot.stack import SHOWN, VERDICTS

ENERGIES = np.linspace(700, 730, 20)
VERDICT = ["kept", "shrunk", "dropped"]


@pytest.fixture
def images():
    y, x = np.mgrid[:30, :40] / 10
    return np.stack([np.sin(x) * np.cos(k * y) for k in range(3)])


@pytest.fixture
def mask():
    mask = np.ones((30, 40), bool)
    mask[4] = False
    return mask


def test_singular_values_have_the_color_of_their_verdict_and_a_line_of_noise():
    values = np.geomspace(1000, 10, 20)
    figure = plot.scree(values, (900, 20), VERDICT)
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [*VERDICT, "not tried", "greatest of noise alone"]
    line = axes.lines[-1].get_ydata()
    np.testing.assert_allclose(line, 30 + np.sqrt(20))
    for points, (word, color) in zip(axes.collections, VERDICTS.items(), strict=False):
        assert points.get_label() == word
        assert to_hex(points.get_facecolor()[0]) == color
    places = [points.get_offsets()[:, 0].tolist() for points in axes.collections]
    assert places == [[1], [2], [3], list(range(4, 21))]
    drawn = np.concatenate([points.get_offsets()[:, 1] for points in axes.collections])
    np.testing.assert_array_equal(drawn, values)
    draw(figure)


@pytest.mark.parametrize("risks", [[0.5, 0.1, 0.2], [0.5, -0.1, 0.2]])
def test_the_rank_that_was_used_is_marked(risks):
    risks, oracle = np.array(risks), np.array([0.6, 0.1, 0.1])
    figure = plot.rank_risk(risks, 2)
    (axes,) = figure.axes
    (marker,) = (line for line in axes.lines if line.get_label() == "chosen: 2")
    assert (*marker.get_xdata(), *marker.get_ydata()) == (2, risks[1])
    assert axes.get_yscale() == ("log" if min(risks) > 0 else "asinh")
    draw(figure)
    truth = plot.rank_risk(risks, 2, oracle=oracle).axes[0].lines[1]
    assert truth.get_label() == "true"
    np.testing.assert_array_equal(truth.get_ydata(), oracle)
    given = plot.rank_risk(risks, 2, chosen=False).axes[0]
    assert given.lines[-1].get_label() == "given: 2"


def test_a_component_before_and_after_has_one_scale_about_zero(images, mask):
    spectra = np.sin(ENERGIES * np.arange(1, 4)[:, None])
    figure = plot.eigenimages(images, images / 2, spectra, VERDICT, mask, ENERGIES)
    rows = [figure.axes[k : k + 3] for k in range(0, 9, 3)]
    for (left, middle, right), verdict in zip(rows, VERDICT, strict=True):
        norm = left.images[0].norm
        assert middle.images[0].norm is norm and norm.vmin == -norm.vmax
        assert left.get_ylabel().endswith(verdict)
        np.testing.assert_array_equal(right.lines[0].get_xdata(), ENERGIES)
        np.testing.assert_array_equal(
            np.ma.getmaskarray(left.images[0].get_array()), ~mask
        )
    draw(figure)


def test_spectra_of_pixels_stand_side_by_side():
    before = np.random.default_rng(0).normal(size=(2, 20))
    places = [(1, 2), (3, 4)]
    found = plot.PixelSpectra(places, before, before / 2, before / 3)
    figure = plot.spectra(found, unit="OD")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["row 1, column 2", "row 3, column 4"]
    assert [line.get_label() for line in figure.axes[0].lines] == [
        *("before", "truth", "after")
    ]
    assert figure.axes[0].get_xlabel() == "frame"
    assert figure.axes[0].get_ylabel() == "OD"
    for k, axes in enumerate(figure.axes):
        drawn = [line.get_ydata() for line in axes.lines]
        np.testing.assert_array_equal(drawn, [before[k], before[k] / 3, before[k] / 2])
    figure = plot.spectra(found._replace(truth=None), ENERGIES)
    assert [line.get_label() for line in figure.axes[0].lines] == ["before", "after"]
    assert figure.axes[0].get_xlabel() == "energy (eV)"
    draw(figure)


def test_frames_and_maps_share_one_scale(images, mask):
    shown = {"before": images[0] * 9, "after": images[1], "truth": images[2]}
    for figure in (
        plot.stack_frame(shown, mask, pixels=[(3, 4)]),
        plot.maps(shown, "v"),
    ):
        norms = {image.norm for axes in figure.axes[:3] for image in axes.images}
        assert len(norms) == 1
        norm = norms.pop()
        assert norm.vmax <= images[1].max() < images[0].max() * 9
        assert [axes.get_title() for axes in figure.axes[:3]] == list(shown)
        draw(figure)


def test_pixels_are_marked_in_every_frame(images, mask):
    shown = {"before": images[0], "after": images[1]}
    figure = plot.stack_frame(shown, mask, pixels=[(3, 4), (5, 6)], unit="OD")
    for axes in figure.axes[:2]:
        marked = [(*line.get_ydata(), *line.get_xdata()) for line in axes.lines]
        assert marked == [(3, 4), (5, 6)]
    assert figure.axes[2].get_ylabel() == "OD"


def test_limits_of_a_map_may_be_given(images):
    figure = plot.maps({"before": images[0], "after": images[1]}, "valence", (2, 4))
    norm = figure.axes[0].images[0].norm
    assert (norm.vmin, norm.vmax) == (2, 4)
    assert figure.axes[2].get_ylabel() == "valence"


def test_a_map_without_an_answer_is_all_gray():
    empty = np.full((9, 9), np.nan)
    figure = plot.maps({"before": empty, "after": empty}, "valence")
    image = figure.axes[0].images[0]
    assert np.ma.getmaskarray(image.get_array()).all()
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    draw(figure)


def test_no_more_components_are_drawn_than_can_be_looked_at(mask):
    many = np.random.default_rng(0).normal(size=(SHOWN + 3, 30, 40))
    spectra = np.ones((len(many), 20))
    figure = plot.eigenimages(many, many, spectra, ["kept"] * len(many), mask)
    assert len(figure.axes) == 3 * SHOWN
    assert figure.axes[-1].get_xlabel() == "frame"


def test_frames_that_were_not_found_are_marked():
    shifts = np.random.default_rng(0).normal(size=(20, 2))
    confidence = np.ones(20)
    confidence[3] = 0
    figure = plot.frame_shifts(shifts, confidence, ENERGIES)
    lost = figure.axes[0].lines[-1]
    assert lost.get_label() == "not found"
    np.testing.assert_array_equal(
        [line.get_ydata() for line in figure.axes[0].lines[:2]], shifts.T
    )
    np.testing.assert_array_equal(lost.get_xdata(), ENERGIES[3:4])
    draw(figure)
