"""Pictures of what denoising did to an energy stack."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Num, Real
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from tvjax.plot.style import (
    BLUE,
    CHEMICAL,
    GRAY,
    GREEN,
    INTENSITY,
    open_frame,
    ORANGE,
    SIGNED,
    valid_only,
)

# The color of what became of a component.
VERDICTS = {"kept": GREEN, "shrunk": BLUE, "dropped": GRAY}

# Greatest number of components that are drawn: what follows is mostly noise.
SHOWN = 8


class PixelSpectra(NamedTuple):
    """The spectra of some pixels before and after."""

    pixels: Sequence[tuple[int, int]]  # row and column of each
    before: Float[ArrayLike, "pixel energy"]
    after: Float[ArrayLike, "pixel energy"]
    truth: Float[ArrayLike, "pixel energy"] | None = None  # without noise, if known


def scree(
    singular_values: Float[ArrayLike, " component"],
    shape: tuple[int, int],
    verdict: Sequence[str],
) -> Figure:
    """Draw the singular values of a whitened stack above those of noise.

    Noise alone has none above √m + √n, for m pixels and n energies, but by chance.

    Args:
        singular_values: Singular values of the stack in units of its noise, descending.
        shape: Number of valid pixels and of energies.
        verdict: What became of the first components: kept, shrunk or dropped.

    Returns:
        The figure.
    """
    values = np.asarray(singular_values)
    values = values[values > 0]
    number = np.arange(1, len(values) + 1)
    figure = Figure((6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(number, values, color=GRAY, linewidth=1, zorder=1)
    words = np.array([*verdict, *["not tried"] * len(values)][: len(values)])
    for word, color in {**VERDICTS, "not tried": "white"}.items():
        chosen = words == word
        if chosen.any():
            axes.scatter(
                number[chosen],
                values[chosen],
                28,
                color,
                edgecolors=GRAY if word == "not tried" else color,
                label=word,
                zorder=2,
            )
    largest_noise_value = np.sqrt(shape[0]) + np.sqrt(shape[1])
    axes.axhline(
        largest_noise_value,
        color=ORANGE,
        linestyle="--",
        label="greatest of noise alone",
    )
    axes.set(xscale="log", yscale="log")
    _plain_numbers(axes.xaxis, axes.yaxis)
    axes.set(xlabel="component", ylabel="singular value / σ")
    axes.legend(frameon=False)
    open_frame(axes)
    return figure


def rank_risk(
    risks: Float[ArrayLike, " rank"],
    rank: int,
    *,
    chosen: bool = True,
    oracle: Float[ArrayLike, " rank"] | None = None,
) -> Figure:
    """Draw the estimated risk against the rank, and the rank that was used.

    Args:
        risks: Mean square error at the ranks from 1 on, over the noise's variance.
        rank: The rank that was used.
        chosen: Whether it was chosen by the least risk.
        oracle: True error at each rank, where the truth is known.

    Returns:
        The figure.
    """
    risks = np.asarray(risks)
    number = np.arange(1, len(risks) + 1)
    figure = Figure((6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(number, risks, color=BLUE, marker=".", label="estimated from the data")
    drawn = risks
    if oracle is not None:
        drawn = np.concatenate([risks, np.asarray(oracle)])
        axes.plot(number, np.asarray(oracle), "--", color=ORANGE, label="true")
    axes.plot(
        rank,
        risks[rank - 1],
        "o",
        color=BLUE,
        markersize=13,
        markerfacecolor="none",
        markeredgewidth=2,
        label=f"{'chosen' if chosen else 'given'}: {rank}",
    )
    if np.min(drawn) > 0:
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    else:  # an estimate may fall below zero, next to which it must still be told apart
        axes.set_yscale(
            "asinh", linear_width=max(-3 * np.min(drawn), 1e-3 * np.max(drawn))
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="rank", ylabel="mean square error / σ²")
    axes.legend(frameon=False)
    open_frame(axes)
    return figure


def eigenimages(
    before: Float[ArrayLike, "component height width"],
    after: Float[ArrayLike, "component height width"],
    spectra: Float[ArrayLike, "component energy"],
    verdict: Sequence[str],
    mask: Bool[ArrayLike, "height width"],
    energies: Float[ArrayLike, " energy"] | None = None,
) -> Figure:
    """Draw the first components: image before and after, and spectrum.

    Each pair of images has one color scale of its own, about zero.

    Args:
        before: Coefficient images.
        after: Coefficient images, denoised.
        spectra: Spectrum of each component, in the unit of the data.
        verdict: What became of each: kept, shrunk or dropped.
        mask: True where a pixel is valid.
        energies: Energies in eV; without, frames are counted.

    Returns:
        The figure.
    """
    before, after, spectra = map(np.asarray, (before, after, spectra))
    num = min(SHOWN, len(before))
    height, width = np.shape(mask)
    side = 1.8
    figure = Figure(
        (2 * side * min(width / height, 2) + 4.6, side * num + 0.6),
        layout="constrained",
    )
    ratios = [width / height, width / height, 2.0]
    rows = figure.subplots(num, 3, squeeze=False, width_ratios=ratios)
    x, label = _abscissa(energies, np.shape(spectra)[1])
    for k, (left, middle, right) in enumerate(rows):
        image = valid_only(before[k], mask)
        reach = max(np.nanpercentile(np.abs(image), 99.5), np.finfo(float).tiny)
        norm = Normalize(-reach, reach)
        for axes, part in ((left, image), (middle, valid_only(after[k], mask))):
            axes.imshow(part, SIGNED, norm)
            axes.set(xticks=[], yticks=[])
        left.set_ylabel(f"{k + 1}: {verdict[k]}", color=VERDICTS[verdict[k]])
        right.plot(x, spectra[k], color=VERDICTS[verdict[k]])
        right.axhline(0, color=GRAY, linewidth=0.8)
        right.tick_params(labelsize="small", labelbottom=k == num - 1)
        open_frame(right)
    rows[0, 0].set_title("before")
    rows[0, 1].set_title("after")
    rows[0, 2].set_title("spectrum")
    rows[-1, 2].set_xlabel(label)
    return figure


def spectra(
    spectra: PixelSpectra,
    energies: Float[ArrayLike, " energy"] | None = None,
    *,
    unit: str = "value",
) -> Figure:
    """Draw the spectra of some pixels before and after.

    Args:
        spectra: The spectra, noisy and denoised.
        energies: Energies in eV; without, frames are counted.
        unit: Unit of the values.

    Returns:
        The figure.
    """
    pixels = spectra.pixels
    before, after = np.asarray(spectra.before), np.asarray(spectra.after)
    truth = None if spectra.truth is None else np.asarray(spectra.truth)
    x, label = _abscissa(energies, before.shape[1])
    figure = Figure((4.0 * len(pixels), 3.6), layout="constrained")
    panels = figure.subplots(1, len(pixels), squeeze=False)[0]
    for k, (axes, (row, column)) in enumerate(zip(panels, pixels, strict=True)):
        axes.plot(x, before[k], ".", color=GRAY, markersize=4, label="before")
        if truth is not None:
            axes.plot(x, truth[k], color=ORANGE, linewidth=3, alpha=0.6, label="truth")
        axes.plot(x, after[k], color=BLUE, label="after")
        axes.set_title(f"row {row}, column {column}", fontsize="medium")
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        open_frame(axes)
    panels[0].set_ylabel(unit)
    panels[0].legend(frameon=False)
    return figure


def stack_frame(
    images: Mapping[str, Real[ArrayLike, "height width"]],
    mask: Bool[ArrayLike, "height width"],
    *,
    pixels: Sequence[tuple[int, int]] = (),
    unit: str = "value",
) -> Figure:
    """Draw one frame before and after, and what else there is, on one color scale.

    The scale saturates at what one pixel in 200 exceeds on either side in the second.

    Args:
        images: The frame by title: before, after, and where known the truth.
        mask: True where a pixel is valid; the others are gray.
        pixels: Row and column of pixels to be marked.
        unit: Unit of the values.

    Returns:
        The figure.
    """
    shown = {title: valid_only(image, mask) for title, image in images.items()}
    figure, panels = _side_by_side(
        shown, INTENSITY, _limits(list(shown.values())[1]), unit
    )
    for axes in panels:
        for row, column in pixels:
            axes.plot(column, row, "o", color="white", markerfacecolor="none")
    return figure


def maps(
    images: Mapping[str, Float[ArrayLike, "height width"]],
    label: str,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw a map before and after, and the true one where it is known.

    Args:
        images: Maps by title, NaN where invalid.
        label: What they show.
        limits: Limits of the color scale; by default those of the second image, but
            for one pixel in 200 on either side.

    Returns:
        The figure.
    """
    values = [np.asarray(image) for image in images.values()]
    return _side_by_side(images, CHEMICAL, limits or _limits(values[1]), label)[0]


def frame_shifts(
    shifts: Float[ArrayLike, "energy 2"],
    confidence: Float[ArrayLike, " energy"],
    energies: Float[ArrayLike, " energy"] | None = None,
) -> Figure:
    """Draw by how much each frame was found to have moved.

    Args:
        shifts: Shift along rows (y) and columns (x) of each frame, in pixels.
        confidence: Zero where no shift was found.
        energies: Energies in eV; without, frames are counted.

    Returns:
        The figure.
    """
    shifts, found = np.asarray(shifts), np.asarray(confidence) > 0
    x, label = _abscissa(energies, len(shifts))
    figure = Figure((6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for k, (name, color) in enumerate((("y", BLUE), ("x", ORANGE))):
        axes.plot(x, shifts[:, k], ".-", color=color, label=name)
    if not found.all():
        lost = np.asarray(x)[~found]
        axes.plot(lost, np.zeros(len(lost)), "x", color=GRAY, label="not found")
    axes.set(xlabel=label, ylabel="shift (pixels)")
    axes.legend(frameon=False)
    open_frame(axes)
    return figure


def _side_by_side(
    images: Mapping[str, Real[ArrayLike, "height width"]],
    colors: Colormap,
    limits: tuple[float, float],
    label: str,
) -> tuple[Figure, list[Axes]]:
    """Draw images on one color scale, with the panels to draw more into."""
    height, width = np.shape(next(iter(images.values())))
    size = 3.6
    figure = Figure(
        (size * len(images) + 1.0, size * height / width + 0.7), layout="compressed"
    )
    panels = list(figure.subplots(1, len(images), squeeze=False)[0])
    norm = Normalize(*limits)
    for axes, (title, image) in zip(panels, images.items(), strict=True):
        axes.imshow(image, colors, norm, interpolation="nearest")
        axes.set(title=title, xlabel="x (pixels)")
        axes.yaxis.set_tick_params(labelleft=axes is panels[0])
    panels[0].set_ylabel("y (pixels)")
    bar = ScalarMappable(norm, colors)
    figure.colorbar(bar, ax=panels, label=label, extend="both")
    return figure, panels


def _plain_numbers(*axes: Axis) -> None:
    """Label a logarithmic axis with numbers that are no powers."""
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _limits(image: Float[np.ndarray, "height width"]) -> tuple[float, float]:
    """The range of an image but for its extremes; never empty."""
    finite = np.asarray(image)[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (0.5, 99.5))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _abscissa(
    energies: Float[ArrayLike, " energy"] | None, num: int
) -> tuple[Num[np.ndarray, " energy"], str]:
    """Energies, or where they are unknown numbers of frames, and their label."""
    if energies is None:
        return np.arange(num), "frame"
    return np.asarray(energies), "energy (eV)"
