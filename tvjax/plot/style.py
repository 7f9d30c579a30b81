"""Colors, scales and the format that all pictures share."""

from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Real
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

# Hues that all eyes tell apart, and a gray for what carries no data.
BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#9a9a9a"
# The color maps of intensities, of surfaces, of what chemistry tells, and of what has
# a sign.
INTENSITY = colormaps["inferno"].with_extremes(bad=GRAY)
SURFACE = colormaps["viridis"]
CHEMICAL = colormaps["viridis"].with_extremes(bad="#dddddd")
SIGNED = colormaps["RdBu_r"].with_extremes(bad=GRAY)


def save(figure: Figure, file: str | Path | BytesIO) -> None:
    """Write a figure as PNG, in a resolution that serves the screen and the page."""
    figure.savefig(file, format="png", dpi=160)


def valid_only(
    image: Real[ArrayLike, "height width"], mask: Bool[ArrayLike, "height width"]
) -> Float[np.ndarray, "height width"]:
    """Return the image as floating point, NaN where the mask is False."""
    return np.where(mask, np.asarray(image, float), np.nan)


def linear_scale(low: float, high: float) -> Normalize:
    """Return a linear scale from zero, or from `low` if less; never empty."""
    low = min(0.0, low)
    return Normalize(low, high if high > low else low + 1)


def open_frame(axes: Axes) -> None:
    """Leave out the lines that carry no scale."""
    axes.spines[["top", "right"]].set_visible(False)
