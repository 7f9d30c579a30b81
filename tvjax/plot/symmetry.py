"""Do the partners of a pattern agree, and what is its profile? The pictures."""

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from tvjax.plot.style import BLUE, GRAY, open_frame, ORANGE

# A ratio beyond this is drawn on a logarithmic scale.
WIDE = 3.0


def orbit_agreement(
    radius: Float[ArrayLike, " ring"],
    ratio: Float[ArrayLike, " ring"],
    scatter: Float[ArrayLike, " ring"],
    blend: Float[ArrayLike, " ring"],
) -> Figure:
    """Draw how much the members of an orbit differ, next to what noise makes them.

    Args:
        radius: Of the rings, in pixels.
        ratio: Chi-squared of the differences over its degrees of freedom.
        scatter: Standard deviation of the ratio by chance.
        blend: Share of the orbit mean that was used.
    """
    radius, ratio, scatter = map(np.asarray, (radius, ratio, scatter))
    figure = Figure((7.0, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    for times, shade in ((1, 0.45), (3, 0.2)):
        upper.fill_between(
            radius,
            1 - times * scatter,
            1 + times * scatter,
            color=GRAY,
            alpha=shade,
            linewidth=0,
            label=f"noise alone, {times}σ",
        )
    upper.axhline(1, color=GRAY, linewidth=0.8)
    upper.plot(radius, ratio, "o-", color=BLUE, markersize=4, label="measured")
    upper.set_ylabel("χ² per degree of freedom")
    if np.min(ratio) > 0 and np.max(ratio) > WIDE:
        # what is near to noise is to be seen beside a ring that a spot spoils
        upper.set_yscale("log")
        upper.yaxis.set_major_formatter(ScalarFormatter())
        upper.yaxis.set_minor_formatter(NullFormatter())
    upper.legend(frameon=False, fontsize="small")
    lower.step(radius, blend, where="mid", color=ORANGE)
    lower.set(xlabel="radius (pixels)", ylabel="share of\nthe mean", ylim=(-0.05, 1.05))
    open_frame(upper)
    open_frame(lower)
    return figure


def radial_profile(
    radius: Float[ArrayLike, " ring"],
    before: Float[ArrayLike, " ring"],
    after: Float[ArrayLike, " ring"],
    error: Float[ArrayLike, " ring"],
    *,
    unit: str = "counts",
) -> Figure:
    """Draw the mean over each ring before, with its error band, and after.

    Args:
        radius: Of the rings, in pixels.
        before: Mean of the noisy image.
        after: Mean of the denoised one.
        error: Standard error of `before`.
        unit: Of the images.
    """
    radius, before, after, error = map(np.asarray, (radius, before, after, error))
    figure = Figure((7.0, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.fill_between(
        radius,
        before - error,
        before + error,
        color=BLUE,
        alpha=0.3,
        linewidth=0,
        label="before, ±σ",
    )
    upper.plot(radius, before, color=BLUE, linewidth=3, alpha=0.3)
    upper.plot(radius, after, color=ORANGE, linewidth=1.2, label="after")
    upper.set_ylabel(f"mean ({unit} per pixel)")
    upper.legend(frameon=False)
    known = error > 0
    lower.axhline(0, color=GRAY, linewidth=0.8)
    lower.plot(radius[known], ((after - before)[known] / error[known]), color=BLUE)
    lower.set(xlabel="radius (pixels)", ylabel="difference / σ")
    open_frame(upper)
    open_frame(lower)
    return figure
