"""Pictures of what denoising did to a frame."""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Real
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from tvjax.diagnostics import autocorrelation, standardized_residual
from tvjax.plot.style import (
    BLUE,
    INTENSITY,
    linear_scale,
    open_frame,
    ORANGE,
    SIGNED,
    SURFACE,
    valid_only,
)


class RiskCurve(NamedTuple):
    """The risk at several strengths, and the strength chosen from it."""

    alphas: Float[ArrayLike, " alpha"]  # in the unit of the image, ascending
    risks: Float[ArrayLike, " alpha"]  # estimated mean square error, unit squared
    chosen: float  # the strength that was used
    error: Float[ArrayLike, " alpha"] | None = None  # standard error of `risks`
    oracle: Float[ArrayLike, " alpha"] | None = None  # true mean square error, if known
    splits: Float[ArrayLike, "split alpha"] | None = None  # risk by each split
    chosen_error: float | None = None  # relative standard error of `chosen`


def before_after(
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
    *,
    spot: tuple[int, int] | None = None,
    half_width: int = 24,
    unit: str = "counts",
) -> Figure:
    """Draw an image before and after, whole and around a spot, on one color scale.

    The scale is linear, on which a mean looks alike before and after, and saturates at
    what one pixel in 200 exceeds before denoising.

    Args:
        before: Noisy image.
        after: Denoised image.
        mask: True where a pixel is valid; the others are gray.
        spot: Row and column about which to enlarge, if any.
        half_width: Pixels from the spot to the border of the enlargement.
        unit: Unit of the images.

    Returns:
        The figure.
    """
    before, after = valid_only(before, mask), valid_only(after, mask)
    norm = linear_scale(np.nanpercentile(after, 0.1), np.nanpercentile(before, 99.5))
    height, width = before.shape
    heights = [4.2 * height / width, 4.2][: 1 if spot is None else 2]
    layout = ConstrainedLayoutEngine(wspace=0.05)  # keeps tick labels apart
    figure = Figure((9.8, 0.7 + sum(heights)), layout=layout)
    axes = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    for column, title, image in zip(
        axes.T, ("before", "after"), (before, after), strict=True
    ):
        for panel in column:
            panel.imshow(image, INTENSITY, norm)
            panel.set_xlabel("x (pixels)")
            panel.yaxis.set_tick_params(labelleft=title == "before")
        column[0].set_title(title)
        if spot is not None:
            _enlarge(column[0], column[1], spot, half_width)
    for panel in axes[:, 0]:
        panel.set_ylabel("y (pixels)")
    bar = ScalarMappable(norm, INTENSITY)
    figure.colorbar(bar, ax=axes, label=f"{unit} per pixel", extend="max", aspect=40)
    return figure


def risk_curve(curve: RiskCurve, *, unit: str = "counts") -> Figure:
    """Draw the estimated risk against the strength, and the strength chosen from it.

    Each curve is drawn above its own least value: an estimate's level has the noise of
    the data, which is the same at every strength. The least value of the true error is
    that of the parabola through the three lowest points.

    Args:
        curve: Strengths and risks.
        unit: Unit of the image.

    Returns:
        The figure.
    """
    alphas, risks, chosen = (
        np.asarray(curve.alphas),
        np.asarray(curve.risks),
        curve.chosen,
    )
    risks = risks - np.min(risks)
    figure = Figure((6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    if curve.error is not None:
        error = np.asarray(curve.error)
        band = risks - error, risks + error
        axes.fill_between(alphas, *band, color=BLUE, alpha=0.2, linewidth=0)
    splits = np.empty((0, len(alphas))) if curve.splits is None else curve.splits
    for number, split in enumerate(np.asarray(splits)):
        label = None if number else "by one split"
        axes.plot(alphas, split - np.min(split), color=BLUE, linewidth=0.6, label=label)
    if curve.chosen_error is not None and np.isfinite(curve.chosen_error):
        wide = np.exp(np.array([-1, 1]) * curve.chosen_error)
        axes.axvspan(
            *np.clip(chosen * wide, alphas[0], alphas[-1]),
            color=BLUE,
            alpha=0.12,
            linewidth=0,
            label="standard error of the choice",
        )
    axes.plot(alphas, risks, color=BLUE, marker=".", label="estimated from the data")
    if curve.oracle is not None:
        oracle = np.asarray(curve.oracle)
        best, least = _vertex(np.log(alphas), oracle)
        best = np.exp(best)
        axes.plot(alphas, oracle - least, "--", color=ORANGE, label="true")
        axes.plot(
            best,
            0,
            "D",
            color=ORANGE,
            label=rf"least true error: $\alpha$ = {best:.3g}",
        )
    axes.plot(
        chosen,
        np.interp(np.log(chosen), np.log(alphas), risks),
        "o",
        color=BLUE,
        markersize=13,
        markerfacecolor="none",
        markeredgewidth=2,
        label=rf"chosen: $\alpha$ = {chosen:.3g}",
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(rf"strength $\alpha$ ({unit})")
    axes.set_ylabel(f"mean square error above its least ({unit}²)")
    axes.legend(frameon=False)
    open_frame(axes)
    return figure


def spot_surface(
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
    *,
    spot: tuple[int, int],
    truth: Real[ArrayLike, "height width"] | None = None,
    half_width: int = 10,
    unit: str = "counts",
) -> Figure:
    """Draw the surroundings of a spot as surfaces over one vertical axis.

    Args:
        before: Noisy image.
        after: Denoised image.
        mask: True where a pixel is valid; the others leave holes.
        spot: Row and column of the spot.
        truth: Image without noise, where it is known.
        half_width: Pixels from the spot to the border.
        unit: Unit of the images.

    Returns:
        The figure.
    """
    window = _window(spot, half_width, np.shape(before))
    panels = {"before": before, "after": after}
    if truth is not None:
        panels["truth"] = truth
    panels = {
        title: valid_only(np.asarray(image)[window], np.asarray(mask)[window])
        for title, image in panels.items()
    }
    drawn = np.stack(list(panels.values()))
    norm = linear_scale(np.nanmin(drawn), np.nanmax(drawn))
    y, x = np.mgrid[window]
    figure = Figure((4.2 * len(panels), 3.6))
    figure.subplots_adjust(left=0.0, right=0.96, bottom=0.06, top=0.98, wspace=0.12)
    for position, (title, image) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position, projection="3d")
        axes.plot_surface(
            x,
            y,
            image,
            cmap=SURFACE,
            norm=norm,
            rstride=1,
            cstride=1,
            edgecolor="white",
            linewidth=0.2,
        )
        axes.set(zlim=(norm.vmin, norm.vmax), xlabel="x (pixels)", ylabel="y (pixels)")
        axes.set_zlabel(unit)
        axes.set_title(title, y=1.0)
        axes.patch.set_visible(False)  # it would hide the neighbor's label
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True))
            # the stubs of matplotlib know flat axes only
            axis.set_pane_color("white")  # pyright: ignore[reportAttributeAccessIssue]
        axes.tick_params(labelsize="small", pad=0)
        axes.view_init(elev=25, azim=-60)
        axes.set_box_aspect((1, 1, 0.75))
    return figure


def residual(
    before: Real[ArrayLike, "height width"],
    after: Real[ArrayLike, "height width"],
    variance: Real[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"],
) -> Figure:
    """Draw what was removed, over its standard deviation: is it noise alone?

    Noise alone shows no pattern in the image, follows the unit normal where counts are
    high, and has no correlation between neighbors.

    Args:
        before: Noisy image.
        after: Denoised image.
        variance: Variance of the noise in `before`.
        mask: True where a pixel is valid.

    Returns:
        The figure.
    """
    z = standardized_residual(before, after, variance, mask)
    max_lag = 10
    correlation = autocorrelation(z, max_lag)
    figure = Figure((12.0, 3.6), layout="constrained")
    image, histogram, lags = figure.subplots(1, 3)

    shown = image.imshow(z, SIGNED, Normalize(-4, 4), interpolation="nearest")
    figure.colorbar(shown, ax=image, label="residual / σ", extend="both", shrink=0.8)
    image.set(title="residual", xlabel="x (pixels)", ylabel="y (pixels)")

    z = z[np.isfinite(z)]
    bins = np.linspace(-5, 5, 81)
    moments = f"mean {z.mean():.2f}\ndeviation {z.std():.2f}"
    histogram.hist(z, bins, density=True, color=BLUE, alpha=0.6, label=moments)
    normal = np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi)
    histogram.plot(bins, normal, color=ORANGE, label="unit normal")
    histogram.set(
        title="its distribution",
        xlabel="residual / σ",
        ylabel="density",
        box_aspect=1,
    )
    histogram.legend(loc="upper left", frameon=False, fontsize="small", handlelength=1)
    open_frame(histogram)

    correlation[max_lag, max_lag] = np.nan  # 1 by definition
    limit = max(0.02, np.nanmax(np.abs(correlation)))
    reach = max_lag + 0.5
    shown = lags.imshow(
        correlation,
        SIGNED,
        Normalize(-limit, limit),
        extent=(-reach, reach, reach, -reach),
    )
    figure.colorbar(shown, ax=lags, label="correlation", shrink=0.8)
    ticks = np.arange(-max_lag, max_lag + 1, 5)
    lags.set(
        title="its autocorrelation",
        xlabel="lag in x (pixels)",
        ylabel="lag in y (pixels)",
        xticks=ticks,
        yticks=ticks,
    )
    return figure


def _vertex(
    x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"]
) -> tuple[float, float]:
    """Where the parabola through the least value and its neighbors is least."""
    middle = np.clip(np.argmin(y), 1, len(y) - 2)
    a, b, c = np.polyfit(x[middle - 1 : middle + 2], y[middle - 1 : middle + 2], 2)
    if a <= 0 or np.argmin(y) != middle:  # at an end, or flat
        return x[np.argmin(y)], np.min(y)
    return -b / (2 * a), c - b * b / (4 * a)


def _window(
    spot: tuple[int, int], half_width: int, shape: tuple[int, ...]
) -> tuple[slice, slice]:
    """Slices about a spot, cut at the borders of the image."""
    rows, columns = (
        slice(max(centre - half_width, 0), min(centre + half_width + 1, n))
        for centre, n in zip(spot, shape, strict=True)
    )
    return rows, columns


def _enlarge(whole: Axes, detail: Axes, spot: tuple[int, int], half_width: int) -> None:
    """Frame a spot in one panel and limit the other panel to that frame."""
    y, x = spot
    size = 2 * half_width + 1
    left, top = x - half_width - 0.5, y - half_width - 0.5
    whole.add_patch(
        Rectangle((left, top), size, size, fill=False, color="white", linewidth=1.2)
    )
    detail.set(xlim=(left, left + size), ylim=(top + size, top))
    detail.set_title("framed square, enlarged", fontsize="medium")
