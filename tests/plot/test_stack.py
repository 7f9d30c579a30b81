from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from tvjax import plot

ENERGIES = np.linspace(700, 730, 20)
VERDICT = ["kept", "shrunk", "dropped"]


def pixels(figure):
    file = BytesIO()
    plot.save(figure, file)
    file.seek(0)
    return imread(file)


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
    assert pixels(figure).std() > 0.05


@pytest.mark.parametrize("risks", [[0.5, 0.1, 0.2], [0.5, -0.1, 0.2]])
def test_the_rank_that_was_used_is_marked(risks):
    figure = plot.rank_risk(risks, 2)
    (axes,) = figure.axes
    (marker,) = (line for line in axes.lines if line.get_label() == "chosen: 2")
    assert (*marker.get_xdata(), *marker.get_ydata()) == (2, risks[1])
    assert axes.get_yscale() == ("log" if min(risks) > 0 else "asinh")
    assert pixels(figure).std() > 0.03
    truth = plot.rank_risk(risks, 2, oracle=[0.6, 0.1, 0.1]).axes[0].lines[1]
    assert truth.get_label() == "true"
    np.testing.assert_array_equal(truth.get_ydata(), [0.6, 0.1, 0.1])
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
    assert pixels(figure).std() > 0.05


def test_spectra_of_pixels_stand_side_by_side():
    before = np.random.default_rng(0).normal(size=(2, 20))
    places = [(1, 2), (3, 4)]
    figure = plot.spectra(before, before / 2, places, truth=before / 3, unit="OD")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["row 1, column 2", "row 3, column 4"]
    assert [line.get_label() for line in figure.axes[0].lines] == [
        *("before", "truth", "after")
    ]
    assert figure.axes[0].get_xlabel() == "frame"
    assert pixels(figure).std() > 0.05


def test_frames_and_maps_share_one_scale(images, mask):
    shown = {"before": images[0] * 9, "after": images[1], "truth": images[2]}
    for figure in (plot.frames(shown, mask, pixels=[(3, 4)]), plot.maps(shown, "v")):
        norms = {image.norm for axes in figure.axes[:3] for image in axes.images}
        assert len(norms) == 1
        assert norms.pop().vmax <= images[1].max()
        assert pixels(figure).std() > 0.05


def test_a_map_without_an_answer_is_drawn():
    empty = np.full((9, 9), np.nan)
    pixels(plot.maps({"before": empty, "after": empty}, "valence"))


def test_frames_that_were_not_found_are_marked():
    shifts = np.random.default_rng(0).normal(size=(20, 2))
    confidence = np.ones(20)
    confidence[3] = 0
    figure = plot.jitter(shifts, confidence, ENERGIES)
    lost = figure.axes[0].lines[-1]
    assert lost.get_label() == "not found"
    np.testing.assert_array_equal(lost.get_xdata(), ENERGIES[3:4])
    assert pixels(figure).std() > 0.03
