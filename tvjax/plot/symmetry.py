"""Pictures of how the partners of a pattern agree, and of its profile."""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from tvjax.plot.style import BLUE, GRAY, open_frame, ORANGE

# A ratio beyond this is drawn on a logarithmic scale.
WIDE = 3.0


class RingAgreement(NamedTuple):
    """By how much the members of an orbit differ, ring by ring."""

    radius: Float[ArrayLike, " ring"]  # pixels
    ratio: Float[ArrayLike, " ring"]  # chi-squared over its degrees of freedom
    scatter: Float[ArrayLike, " ring"]  # standard deviation of `ratio` by chance
    share: Float[ArrayLike, " ring"]  # of the orbit mean that was used


class RingProfile(NamedTuple):
    """The mean over each ring before and after."""

    radius: Float[ArrayLike, " ring"]  # pixels
    before: Float[ArrayLike, " ring"]
    after: Float[ArrayLike, " ring"]
    error: Float[ArrayLike, " ring"]  # standard error of `before`


def orbit_agreement(agreement: RingAgreement) -> Figure:
    """Draw how much the members of an orbit differ, next to what noise makes them.

    Args:
        agreement: Differences over what their noise makes of them, ring by ring.

    Returns:
        The figure.
    """
    radius, ratio, scatter, share = map(np.asarray, agreement)
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
    lower.step(radius, share, where="mid", color=ORANGE)
    lower.set(xlabel="radius (pixels)", ylabel="share of\nthe mean", ylim=(-0.05, 1.05))
    open_frame(upper)
    open_frame(lower)
    return figure


def ring_profile(profile: RingProfile, *, unit: str = "counts") -> Figure:
    """Draw the mean over each ring before, with its error band, and after.

    Args:
        profile: Means over rings.
        unit: Unit of the images.

    Returns:
        The figure.
    """
    radius, before, after, error = map(np.asarray, profile)
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
