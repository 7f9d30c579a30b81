"""Figures as the pixels that a reader sees."""

from io import BytesIO

from matplotlib.image import imread

from tvjax import plot


def draw(figure):
    """The pixels of a figure, which must be drawn without a complaint."""
    file = BytesIO()
    plot.save(figure, file)
    file.seek(0)
    pixels = imread(file)
    assert pixels.std() > 0.01, "the picture is blank"
    return pixels
