from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from tvjax.plot.style import (
    CHEMICAL,
    INTENSITY,
    linear_scale,
    open_frame,
    save,
    SIGNED,
    valid_only,
)


def test_a_figure_is_saved_in_160_dots_an_inch(tmp_path):
    figure = Figure((2, 1))
    figure.subplots().plot([0, 1])
    save(figure, tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").shape[:2] == (160, 320)
    file = BytesIO()
    save(figure, file)
    assert file.getvalue() == (tmp_path / "figure.png").read_bytes()


def test_invalid_pixels_are_no_numbers():
    image = np.arange(6, dtype=np.uint32).reshape(2, 3)
    found = valid_only(image, image != 4)
    np.testing.assert_array_equal(found, [[0, 1, 2], [3, np.nan, 5]])
    assert found.dtype == float


@pytest.mark.parametrize(
    ("low", "high", "limits"),
    [(2, 5, (0, 5)), (-2, 5, (-2, 5)), (0, 0, (0, 1)), (-3, -3, (-3, -2))],
)
def test_a_scale_holds_zero_and_is_never_empty(low, high, limits):
    norm = linear_scale(low, high)
    assert (norm.vmin, norm.vmax) == limits


@pytest.mark.parametrize("colors", [INTENSITY, SIGNED, CHEMICAL])
def test_invalid_pixels_are_gray(colors):
    red, green, blue, alpha = colors(np.ma.masked_all(1))[0]
    assert red == green == blue and alpha == 1
    assert colors(np.nan)[:3] == (red, green, blue)


def test_lines_without_a_scale_are_left_out():
    axes = Figure().subplots()
    open_frame(axes)
    shown = {name for name, spine in axes.spines.items() if spine.get_visible()}
    assert shown == {"left", "bottom"}
