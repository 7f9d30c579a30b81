"""Normalized spectra, their edge energies and their white lines."""

from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Real

from tvjax.xanes.columns import (
    check_ascending,
    count_energies,
    per_pixel,
    product,
    root,
    to_columns,
    to_pixels,
)

Window: TypeAlias = tuple[float, float]


class Normalized(NamedTuple):
    """Spectra that step from 0 to 1 at the edge, and the step they had."""

    spectra: Float[Array, " energy *pixels"]
    step: Float[Array, "*pixels"]  # in the unit of the stack
    step_error: Float[Array, "*pixels"]  # one standard deviation
    mask: Bool[Array, "*pixels"]  # where the step stands clear of its error


class Edge(NamedTuple):
    """Where the spectra rise."""

    energy: Float[Array, "*pixels"]  # eV
    mask: Bool[Array, "*pixels"]


class WhiteLine(NamedTuple):
    """Where the spectra are highest, and how high."""

    energy: Float[Array, "*pixels"]  # eV
    height: Float[Array, "*pixels"]
    mask: Bool[Array, "*pixels"]  # False where the highest sample is the first or last


def normalize(
    y: Real[ArrayLike, " energy *pixels"],
    energies: Real[ArrayLike, " energy"],
    *,
    edge: float,
    pre: Window | None = None,
    post: Window | None = None,
    degree: int = 1,
    significance: float = 3.0,
    sigma: Real[ArrayLike, "*pixels"] | Real[ArrayLike, ""] | None = None,
    mask: Bool[ArrayLike, "*pixels"] | None = None,
) -> Normalized:
    """Remove the background from spectra, and divide them by the height of the edge.

    A line b is fitted before and a polynomial p after the edge E₀, in each pixel:

        step = p(E₀) − b(E₀)
        spectrum = (y − b(E)) / step                below E₀
        spectrum = 1 + (y − p(E)) / step            from E₀ on

    A pixel is valid where the step exceeds `significance` times its standard error.

    Args:
        y: Optical densities.
        energies: In eV, ascending.
        edge: E₀ in eV, for instance the tabulated one of the element.
        pre: First and last energy of the line, **in eV relative to `edge`**; by default
            the first two thirds of what was measured before the edge.
        post: The same for the polynomial; by default the last two thirds of what was
            measured after the edge.
        degree: Degree of the polynomial: 0, 1 or 2.
        significance: Least step of a valid pixel, in standard errors.
        sigma: Standard deviation of the noise, one for all or one per pixel; by default
            from the residuals in the two windows, which also count what no polynomial
            follows.
        mask: True where a pixel is valid at every energy.

    Raises:
        ValueError: For energies that do not ascend, an edge outside of them, or windows
            with too few of them.
    """
    grid = check_ascending(energies, count_energies("y", y))
    background = _background(grid, edge, pre, post, degree)
    num_free = int(background.before.sum() + background.after.sum()) - degree - 3
    if sigma is None and num_free < 1:
        raise ValueError(
            "`pre` and `post` hold no more energies than the fits have coefficients, "
            f"{degree + 3}: widen them or give `sigma`."
        )
    return _flatten(y, mask, background, sigma, num_free, significance)


def edge_energy(
    spectra: Real[ArrayLike, " energy *pixels"],
    energies: Real[ArrayLike, " energy"],
    level: float = 0.5,
    *,
    mask: Bool[ArrayLike, "*pixels"] | None = None,
) -> Edge:
    """Find the energy at which the spectra rise through `level`.

    Between two samples it is found by a line. Noise crosses the level too: of all
    upward crossings k, between the samples k and k + 1, the one is taken with the least

        Σ_{i ≤ k} (yᵢ − level)

    which is where a step from 0 to 2 `level` fits all samples best in least squares.
    Neither a spike before the edge nor a dip behind it moves it, and no noisy slope is
    involved. Where the spectrum is not below the level on average before, or not above
    it after, no step fits better than none, and the pixel is invalid.

    In single precision the energy is rounded to 0.001 eV above 8192 eV. Its standard
    error is about the noise over the slope.

    Args:
        spectra: Spectra from 0 to 1, as of `normalize`.
        energies: In eV, ascending.
        level: Height to rise through, between 0 and 1.
        mask: True where a pixel is valid.

    Raises:
        ValueError: For a level outside of 0 to 1, or fewer than two energies.
    """
    grid = check_ascending(energies, count_energies("spectra", spectra), least=2)
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, got {level}.")
    return _crossing(spectra, mask, grid, np.diff(grid), level)


def white_line(
    spectra: Real[ArrayLike, " energy *pixels"],
    energies: Real[ArrayLike, " energy"],
    *,
    mask: Bool[ArrayLike, "*pixels"] | None = None,
) -> WhiteLine:
    """Find the top of the parabola through the highest sample and its two neighbors.

    A spectrum that is highest at its first or last energy has its white line outside:
    that sample is returned, and the pixel is invalid. Leave out energies far behind the
    edge where noise could be higher than the line.

    Args:
        spectra: Spectra, as of `normalize`.
        energies: In eV, ascending.
        mask: True where a pixel is valid.

    Raises:
        ValueError: For fewer than three energies.
    """
    grid = check_ascending(energies, count_energies("spectra", spectra), least=3)
    return _summit(spectra, mask, grid, np.diff(grid))


class _Background(NamedTuple):
    """The two fits as matrices. Their coefficients are uncorrelated, at unit noise."""

    before: Bool[np.ndarray, " energy"]  # the window of the line
    after: Bool[np.ndarray, " energy"]  # the window of the polynomial
    project: Float[np.ndarray, "coefficient energy"]  # coefficients from samples
    curve: Float[np.ndarray, "energy coefficient"]  # what to subtract
    step: Float[np.ndarray, " coefficient"]  # height of the edge


def _background(
    energies: Float[np.ndarray, " energy"],
    edge: float,
    pre: Window | None,
    post: Window | None,
    degree: int,
) -> _Background:
    """The fits before and after the edge, in windows that hold energies enough."""
    if degree not in (0, 1, 2):
        raise ValueError(f"`degree` must be 0, 1 or 2, got {degree}.")
    if not energies[0] < edge < energies[-1]:
        raise ValueError(
            f"`edge` must lie within the energies, {energies[0]:g} to "
            f"{energies[-1]:g} eV, got {edge}."
        )
    offset = energies - edge
    low, high = float(offset[0]), float(offset[-1])
    pre = (low, low / 3) if pre is None else pre
    post = (high / 3, high) if post is None else post
    before = _inside("pre", pre, offset, offset < 0, 2)
    after = _inside("post", post, offset, offset >= 0, degree + 1)
    line, line_curve, line_edge = _polynomial(offset, before, 1)
    rise, rise_curve, rise_edge = _polynomial(offset, after, degree)
    above = (offset >= 0)[:, None]
    curve = np.concatenate(
        [np.where(above, line_edge, line_curve), above * (rise_curve - rise_edge)], 1
    )
    return _Background(
        before, after, np.concatenate([line, rise]), curve, np.r_[-line_edge, rise_edge]
    )


def _inside(
    name: str,
    window: Window,
    offset: Float[np.ndarray, " energy"],
    side: Bool[np.ndarray, " energy"],
    least: int,
) -> Bool[np.ndarray, " energy"]:
    """The energies on one side of the edge that lie in a window, enough of them."""
    first, last = window
    inside = side & (offset >= first) & (offset <= last)
    if inside.sum() < least:
        raise ValueError(
            f"`{name}` of {first:g} to {last:g} eV from the edge holds "
            f"{inside.sum()} energies on its side and needs {least}: widen it."
        )
    return inside


def _polynomial(
    offset: Float[np.ndarray, " energy"],
    inside: Bool[np.ndarray, " energy"],
    degree: int,
) -> tuple[
    Float[np.ndarray, "coefficient energy"],
    Float[np.ndarray, "energy coefficient"],
    Float[np.ndarray, " coefficient"],
]:
    """Least squares in a window: coefficients, the curve, its value at the edge."""
    powers = (offset / np.abs(offset).max())[:, None] ** np.arange(degree + 1)
    basis, triangle = np.linalg.qr(powers[inside])
    project = np.zeros((degree + 1, len(offset)))
    project[:, inside] = basis.T
    inverse = np.linalg.inv(triangle)
    return project, powers @ inverse, inverse[0]


@jax.jit
def _flatten(
    stack: Real[ArrayLike, " energy *pixels"],
    mask: Bool[ArrayLike, "*pixels"] | None,
    background: _Background,
    sigma: Real[ArrayLike, "*pixels"] | Real[ArrayLike, ""] | None,
    num_free: int | Int[Array, ""],
    significance: Real[ArrayLike, ""],
) -> Normalized:
    """The spectra normalized by fits that are given as matrices."""
    y, valid, pixels = to_columns(stack, mask)
    before, after, project, curve, height = (
        jnp.asarray(part, y.dtype) for part in background
    )
    coefficients = product(project, y)
    step = product(height, coefficients)
    flat = y - product(curve, coefficients)
    if sigma is None:
        residual = (before + after)[:, None] * flat - after[:, None] * step[None]
        noise = root(jnp.sum(residual**2, axis=0) / num_free)
    else:
        noise = jnp.where(valid, per_pixel("sigma", sigma, pixels, y.dtype), 0)
    error = noise * jnp.linalg.norm(height)
    clear = valid & (step > significance * error) & (step > 0)
    spectra = jnp.where(clear[None], flat / jnp.where(clear, step, 1)[None], 0)
    return Normalized(
        spectra=to_pixels(spectra, pixels),
        step=to_pixels(step, pixels),
        step_error=to_pixels(error, pixels),
        mask=to_pixels(clear, pixels),
    )


@jax.jit
def _crossing(
    spectra: Real[ArrayLike, " energy *pixels"],
    mask: Bool[ArrayLike, "*pixels"] | None,
    energies: Float[ArrayLike, " energy"],
    widths: Float[ArrayLike, " interval"],
    level: Real[ArrayLike, ""],
) -> Edge:
    """Where the spectra rise through a level."""
    y, valid, pixels = to_columns(spectra, mask)
    energies, widths = (jnp.asarray(e, y.dtype) for e in (energies, widths))
    above = y - level
    last, found = _best_step(lax.stop_gradient(above))
    found &= valid
    pair = last[None] + jnp.arange(2)[:, None]
    below, beyond = jnp.take_along_axis(above, pair, 0, mode="promise_in_bounds")
    share = -below / jnp.where(found, beyond - below, 1)
    energy = jnp.where(found, energies[last] + share * widths[last], 0)
    return Edge(to_pixels(energy, pixels), to_pixels(found, pixels))


def _best_step(
    above: Float[Array, "energy pixel"],
) -> tuple[Int[Array, " pixel"], Bool[Array, " pixel"]]:
    """Index of the last sample before the best step up, and whether there is one."""

    def extend(
        best: tuple[Array, Array, Array], pair: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array, Array], None]:
        total, least, index = best
        below, beyond, here = pair
        total = total + below
        better = (below < 0) & (beyond >= 0) & (total < least)
        least, index = jnp.where(better, total, least), jnp.where(better, here, index)
        return (total, least, index), None

    zero = jnp.zeros_like(above[0])
    pairs = (above[:-1], above[1:], jnp.arange(len(above) - 1))
    # it must be better than a step before the first sample, whose sum is 0
    start = (zero, zero, jnp.zeros(zero.shape, int))
    (total, least, index), _ = lax.scan(extend, start, pairs)
    return index, least < jnp.minimum(total + above[-1], 0)


@jax.jit
def _summit(
    spectra: Real[ArrayLike, " energy *pixels"],
    mask: Bool[ArrayLike, "*pixels"] | None,
    energies: Float[ArrayLike, " energy"],
    widths: Float[ArrayLike, " interval"],
) -> WhiteLine:
    """Where the spectra are highest."""
    y, valid, pixels = to_columns(spectra, mask)
    energies, widths = (jnp.asarray(e, y.dtype) for e in (energies, widths))
    highest = jnp.argmax(y, axis=0)
    middle = jnp.clip(highest, 1, len(y) - 2)
    near = middle[None] + jnp.arange(-1, 2)[:, None]
    left, top, right = jnp.take_along_axis(y, near, 0, mode="promise_in_bounds")
    a, b = widths[middle - 1], widths[middle]
    rise, fall = (top - left) / a, (right - top) / b
    slope, bend = (rise * b + fall * a) / (a + b), (rise - fall) / (a + b)
    inside = valid & (highest == middle) & (bend > 0)
    bend = jnp.where(inside, bend, 1)
    shift = jnp.where(inside, slope / (2 * bend), 0)
    energy = jnp.where(valid, energies[highest] + shift, 0)
    height = jnp.max(y, axis=0) + shift * slope / 2
    return WhiteLine(
        energy=to_pixels(energy, pixels),
        height=to_pixels(height, pixels),
        mask=to_pixels(inside, pixels),
    )
