"""What does the spectrum in each pixel of an energy stack say?

    counts → optical_density → normalize → edge_energy, white_line
                                         → fit_references → chemical_map

Stacks have the axes `(energy, *pixels)`, of any number of pixel axes. Energies are in
eV, ascend, need not be uniform, and are read while tracing: a function under `jit`
takes them as constants, not as arguments. Invalid pixels come back as zeros with a
False in `mask`, never as NaN.
"""

from functools import partial
from math import prod
from typing import Literal, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array, core, lax, numpy as jnp
from jax.scipy.special import ndtr
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Real

Window: TypeAlias = tuple[float, float]

# Two to the power of this many subsets of the references are solved in every pixel.
MOST_REFERENCES = 8

# GPUs would round the factors of a product of single precision to ten bits.
_product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


class Density(NamedTuple):
    """Optical density with its variance, and where there is one."""

    density: Float[Array, " energy *pixels"]
    variance: Float[Array, " energy *pixels"]
    mask: Bool[Array, " energy *pixels"]


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


class Fit(NamedTuple):
    """Shares of the references in every pixel."""

    weights: Float[Array, " reference *pixels"]
    errors: Float[Array, " reference *pixels"]  # one standard deviation
    residual: Float[Array, "*pixels"]  # root of the mean square over the energies
    sigma: Float[Array, "*pixels"]  # noise of the spectra, given or estimated
    covariance: Float[Array, "reference reference"]  # of the weights, at unit noise
    mask: Bool[Array, "*pixels"]


class ChemicalMap(NamedTuple):
    """The phase that leads in every pixel, and the mean valence."""

    phase: Int[Array, "*pixels"]  # index of the reference, −1 where invalid
    confidence: Float[Array, "*pixels"]  # ½ to 1
    valence: Float[Array, "*pixels"] | None
    valence_error: Float[Array, "*pixels"] | None  # one standard deviation
    mask: Bool[Array, "*pixels"]


class Design(NamedTuple):
    """The energies to measure at, and what they will give."""

    indices: Int[np.ndarray, " chosen"]  # ascending
    energies: Float[np.ndarray, " chosen"]  # eV
    errors: Float[np.ndarray, " reference"]  # of the weights, at unit noise


def optical_density(
    sample: Real[ArrayLike, " energy *pixels"],
    flat: Real[ArrayLike, "..."],
    *,
    dark: Real[ArrayLike, "..."] = 0.0,
    sample_variance: Real[ArrayLike, "..."] | None = None,
    flat_variance: Real[ArrayLike, "..."] | None = None,
    mask: Bool[ArrayLike, "..."] | None = None,
) -> Density:
    """−ln((s − d) / (f − d)) with the variance var(s)/(s − d)² + var(f)/(f − d)².

    A pixel whose sample or flat does not exceed the dark has no density: it is marked
    as invalid. The variance is that of the delta method; it is too small below some ten
    counts, where the logarithm is not a line within the noise.

    Args:
        sample: Counts behind the sample, s.
        flat: Counts without the sample, f. This and what follows may be a scalar, one
            value per energy (an I₀), one per pixel, or one for each value of `sample`.
        dark: Counts without light, d; its own noise is left out.
        sample_variance: Of `sample`, in counts squared; by default that of photons, s.
        flat_variance: Of `flat`; by default f. The mean of n flats has f/n.
        mask: True where the counts are valid.

    Raises:
        ValueError: For an argument that does not fit the shape of `sample`.
    """
    _num_energies("sample", sample)
    return _density(sample, flat, dark, sample_variance, flat_variance, mask)


def normalize(
    stack: Float[ArrayLike, " energy *pixels"],
    energies: Float[ArrayLike, " energy"],
    *,
    edge: float,
    pre: Window | None = None,
    post: Window | None = None,
    degree: int = 1,
    significance: float = 3.0,
    sigma: Float[ArrayLike, "*pixels"] | float | None = None,
    mask: Bool[ArrayLike, "*pixels"] | None = None,
) -> Normalized:
    """Remove what lies under the edge, and divide by its height.

    A line b is fitted before and a polynomial p after the edge E₀, in each pixel:

        step = p(E₀) − b(E₀)
        spectrum = (y − b(E)) / step                below E₀
        spectrum = 1 + (y − p(E)) / step            from E₀ on

    A pixel is valid where the step exceeds `significance` times its standard error.

    Args:
        stack: Optical densities.
        energies: In eV, ascending.
        edge: E₀ in eV, for instance the tabulated one of the element.
        pre: First and last energy of the line, **in eV relative to `edge`**; by default
            the first two thirds of what was measured before the edge.
        post: The same for the polynomial; by default the last two thirds of what was
            measured after the edge.
        degree: Of the polynomial: 0, 1 or 2.
        significance: Least step, in standard errors.
        sigma: Noise of the stack, one for all or one per pixel; by default from the
            residuals in the two windows, which also count what no polynomial follows.
        mask: True where a pixel is valid at every energy.

    Raises:
        ValueError: For energies that do not ascend, an edge outside of them, or windows
            with too few of them.
    """
    energies = _ascending(energies, _num_energies("stack", stack))
    background = _background(energies, edge, pre, post, degree)
    num_free = int(background.before.sum() + background.after.sum()) - degree - 3
    if sigma is None and num_free < 1:
        raise ValueError(
            "`pre` and `post` hold no more energies than the fits have coefficients, "
            f"{degree + 3}: widen them or give `sigma`."
        )
    return _flatten(stack, mask, background, sigma, num_free, significance)


def edge_energy(
    normalized: Float[ArrayLike, " energy *pixels"],
    energies: Float[ArrayLike, " energy"],
    level: float = 0.5,
    *,
    mask: Bool[ArrayLike, "*pixels"] | None = None,
) -> Edge:
    """Energy at which the spectra rise through `level`, between two samples by a line.

    Noise crosses the level too. Of all upward crossings k, between the samples k and
    k + 1, the one is taken with the least

        Σ_{i ≤ k} (yᵢ − level)

    which is where a step from 0 to 2 `level` fits all samples best in least squares.
    Neither a spike before the edge nor a dip behind it moves it, and no noisy slope is
    involved. Where the spectrum is not below the level on average before, or not above
    it after, no step fits better than none, and the pixel is invalid.

    In single precision the energy is rounded to 0.001 eV above 8192 eV. Its standard
    error is about the noise over the slope.

    Args:
        normalized: Spectra from 0 to 1, of `normalize`.
        energies: In eV, ascending.
        level: Between 0 and 1.
        mask: True where a pixel is valid.

    Raises:
        ValueError: For a level outside of 0 to 1, or fewer than two energies.
    """
    num = _num_energies("normalized", normalized)
    energies = _ascending(energies, num, least=2)
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, got {level}.")
    return _crossing(normalized, mask, energies, np.diff(energies), level)


def white_line(
    normalized: Float[ArrayLike, " energy *pixels"],
    energies: Float[ArrayLike, " energy"],
    *,
    mask: Bool[ArrayLike, "*pixels"] | None = None,
) -> WhiteLine:
    """Top of the parabola through the highest sample and its two neighbors.

    A spectrum that is highest at its first or last energy has its white line outside:
    that sample is returned, and the pixel is invalid. Leave out energies far behind the
    edge where noise could be higher than the line.

    Args:
        normalized: Spectra, of `normalize`.
        energies: In eV, ascending.
        mask: True where a pixel is valid.

    Raises:
        ValueError: For fewer than three energies.
    """
    num = _num_energies("normalized", normalized)
    energies = _ascending(energies, num, least=3)
    return _summit(normalized, mask, energies, np.diff(energies))


def fit_references(
    spectra: Float[ArrayLike, " energy *pixels"],
    references: Float[ArrayLike, "reference energy"],
    *,
    sum_to_one: bool = False,
    non_negative: bool = True,
    sigma: Float[ArrayLike, "*pixels"] | float | None = None,
    mask: Bool[ArrayLike, "*pixels"] | None = None,
) -> Fit:
    """min_w ‖y − Σᵣ wᵣ referenceᵣ‖², by default with w ≥ 0, on request with Σ w = 1.

    Exact: the least squares of every subset of the references is solved, and the best
    of those without a negative weight is the answer. Where weights change sign, the
    derivative is that of one side.

    The errors are those of the weights before any is held at zero. Each holds the
    others free, so that a weight of zero has one too; the constraint w ≥ 0 can only
    bring the weights closer to the truth.

    For noise that differs between energies, divide spectra and references by it, and
    give `sigma=1`.

    Args:
        spectra: Spectra of the pixels, in the unit of the references.
        references: One spectrum a row, at the same energies; at most eight.
        sum_to_one: Let the weights sum to one exactly.
        non_negative: Allow no negative weight.
        sigma: Noise of the spectra, one for all or one per pixel; by default from the
            residual, which also counts what no mixture of the references follows.
        mask: True where a pixel is valid.

    Raises:
        ValueError: For references of another length than the spectra, or that are
            mixtures of each other.
    """
    num_energies = _num_energies("spectra", spectra)
    references = jnp.asarray(references, _float_type(spectra))
    _check_references(references, num_energies, sum_to_one)
    num_references = len(references)
    if num_references > MOST_REFERENCES and non_negative:
        raise ValueError(
            f"`references` must be at most {MOST_REFERENCES} for a fit without "
            f"negative weights, got {num_references}."
        )
    if sigma is None and num_energies < num_references - sum_to_one + 1:
        raise ValueError(
            f"{num_energies} energies leave nothing to estimate the noise of a fit of "
            f"{num_references} references from: give `sigma`."
        )
    return _fit(spectra, mask, references, sigma, sum_to_one, non_negative)


def chemical_map(
    fit: Fit, valences: Float[ArrayLike, " reference"] | None = None
) -> ChemicalMap:
    """Which reference leads in each pixel, how surely, and the mean valence.

        confidence = Φ((w₁ − w₂) / √var(w₁ − w₂))        of the two greatest weights
        valence = Σ wᵣ vᵣ / Σ wᵣ

    The confidence is the probability, for normal errors, that a fit to other noise puts
    the leading reference before the second as well: ½ where both are equal, 1 where the
    noise cannot exchange them. It knows nothing of references that are missing. The
    valence has an error to first order in the noise. Pixels where the weights do not
    sum to a positive number are invalid.

    Args:
        fit: Of references that are normalized alike, by `fit_references`.
        valences: Of the references.

    Raises:
        ValueError: For fewer than two references, or another number of valences.
    """
    num_references = len(fit.weights)
    if num_references < 2:
        raise ValueError(f"a map needs at least two references, got {num_references}.")
    if valences is not None and np.shape(valences) != (num_references,):
        raise ValueError(
            f"`valences` must be one per reference, {num_references}, "
            f"got shape {np.shape(valences)}."
        )
    return _map(fit, valences)


def choose_energies(
    references: Float[ArrayLike, "reference energy"],
    energies: Float[ArrayLike, " energy"],
    num_energies: int,
    *,
    criterion: Literal["A", "D"] = "A",
    sum_to_one: bool = False,
    spacing: float = 0.0,
) -> Design:
    """The energies at which a fit of the references has the least error.

    With the references at the chosen energies as columns X, and noise of 1:

        A    min Σᵣ var(wᵣ) = tr (Xᵀ X)⁻¹
        D    min the volume of the ellipsoid of errors, det (Xᵀ X)⁻¹

    Energies are added one by one, then exchanged one for one until no exchange is
    better (Fedorov 1972). That is a local optimum, as a rule the best or within a
    percent of it. A background is one more reference: add a row of ones.

    Args:
        references: One spectrum a row.
        energies: At which the references are given, in eV, ascending.
        num_energies: How many to choose, at least as many as there are references.
        criterion: What to minimize.
        sum_to_one: Whether the fit will let the weights sum to one.
        spacing: Least distance in eV between two chosen energies, for instance the
            resolution of the monochromator.

    Raises:
        ValueError: For references that are mixtures of each other, or a number of
            energies that is too small or does not fit in with `spacing`.
    """
    if criterion not in ("A", "D"):
        raise ValueError(f"`criterion` must be 'A' or 'D', got {criterion!r}.")
    energies = _ascending(energies, np.size(energies))
    references = np.asarray(references, float)
    _check_references(references, len(energies), sum_to_one)
    rows = references.T @ _directions(len(references), sum_to_one)
    if not rows.shape[1] <= num_energies <= len(energies):
        raise ValueError(
            f"`num_energies` must lie between {rows.shape[1]} and {len(energies)}, "
            f"got {num_energies}."
        )
    apart = np.abs(energies[:, None] - energies) >= max(spacing, np.finfo(float).tiny)
    chosen: list[int] = []
    for _ in range(num_energies):
        best, _ = _best_addition(rows, chosen, apart, criterion)
        if best is None:
            raise ValueError(
                f"`spacing` of {spacing} eV leaves room for {len(chosen)} energies "
                f"instead of {num_energies}: make it smaller."
            )
        chosen.append(best)
    indices = np.sort(_exchange(rows, chosen, apart, criterion))
    errors = expected_errors(references, indices, sum_to_one=sum_to_one)
    return Design(indices, energies[indices], errors)


def expected_errors(
    references: Float[ArrayLike, "reference energy"],
    indices: Int[ArrayLike, " chosen"],
    sigma: float = 1.0,
    *,
    sum_to_one: bool = False,
) -> Float[np.ndarray, " reference"]:
    """Standard errors of the weights, σ √diag (Xᵀ X)⁻¹, at some of the energies.

    Args:
        references: One spectrum a row.
        indices: Of the energies that are measured; one that is named twice is
            measured twice.
        sigma: Noise of one measurement, in the unit of the references.
        sum_to_one: Whether the fit lets the weights sum to one.

    Raises:
        ValueError: For energies at which the references are mixtures of each other.
    """
    indices = np.asarray(indices)
    chosen = np.asarray(references, float)[..., indices]
    _check_references(chosen, indices.size, sum_to_one)
    directions = _directions(len(chosen), sum_to_one)
    _, triangle = np.linalg.qr(chosen.T @ directions)
    return sigma * np.linalg.norm(directions @ np.linalg.inv(triangle), axis=1)


@jax.jit
def _density(sample, flat, dark, sample_variance, flat_variance, mask):
    sample = jnp.asarray(sample, _float_type(sample))
    spread = partial(_spread, shape=sample.shape, dtype=sample.dtype)
    flat, dark = spread("flat", flat), spread("dark", dark)
    noise = sample if sample_variance is None else sample_variance
    flat_noise = flat if flat_variance is None else flat_variance
    behind, before = sample - dark, flat - dark
    valid = (behind > 0) & (before > 0)
    if mask is not None:
        valid &= _spread("mask", mask, sample.shape, bool)
    behind, before = (jnp.where(valid, counts, 1) for counts in (behind, before))
    ratio = before / behind
    variance = spread("sample_variance", noise) / behind**2
    variance += spread("flat_variance", flat_noise) / before**2
    valid &= (ratio > 0) & jnp.isfinite(ratio) & jnp.isfinite(variance)
    density = jnp.log(jnp.where(valid, ratio, 1))
    return Density(density, jnp.where(valid, variance, 0), valid)


class _Background(NamedTuple):
    """The two fits as matrices. Their coefficients are uncorrelated, at unit noise."""

    before: Bool[np.ndarray, " energy"]  # the window of the line
    after: Bool[np.ndarray, " energy"]  # the window of the polynomial
    project: Float[np.ndarray, "coefficient energy"]  # coefficients from samples
    curve: Float[np.ndarray, "energy coefficient"]  # what to subtract
    step: Float[np.ndarray, " coefficient"]  # height of the edge


def _background(energies, edge, pre, post, degree):
    if degree not in (0, 1, 2):
        raise ValueError(f"`degree` must be 0, 1 or 2, got {degree}.")
    if not energies[0] < edge < energies[-1]:
        raise ValueError(
            f"`edge` must lie within the energies, {energies[0]:g} to "
            f"{energies[-1]:g} eV, got {edge}."
        )
    offset = energies - edge
    pre = (offset[0], offset[0] / 3) if pre is None else pre
    post = (offset[-1] / 3, offset[-1]) if post is None else post
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


def _inside(name, window, offset, side, least):
    first, last = window
    inside = side & (offset >= first) & (offset <= last)
    if inside.sum() < least:
        raise ValueError(
            f"`{name}` of {first:g} to {last:g} eV from the edge holds "
            f"{inside.sum()} energies on its side and needs {least}: widen it."
        )
    return inside


def _polynomial(offset, inside, degree):
    """Least squares in a window: coefficients, the curve, its value at the edge."""
    powers = (offset / np.abs(offset).max())[:, None] ** np.arange(degree + 1)
    basis, triangle = np.linalg.qr(powers[inside])
    project = np.zeros((degree + 1, len(offset)))
    project[:, inside] = basis.T
    inverse = np.linalg.inv(triangle)
    return project, powers @ inverse, inverse[0]


@jax.jit
def _flatten(stack, mask, background, sigma, num_free, significance):
    y, valid, pixels = _columns(stack, mask)
    before, after, project, curve, height = (
        jnp.asarray(part, y.dtype) for part in background
    )
    coefficients = _product(project, y)
    step = _product(height, coefficients)
    flat = y - _product(curve, coefficients)
    if sigma is None:
        residual = (before + after)[:, None] * flat - after[:, None] * step[None]
        noise = _root(jnp.sum(residual**2, axis=0) / num_free)
    else:
        noise = jnp.where(valid, _per_pixel("sigma", sigma, pixels, y.dtype), 0)
    error = noise * jnp.linalg.norm(height)
    clear = valid & (step > significance * error) & (step > 0)
    spectra = jnp.where(clear[None], flat / jnp.where(clear, step, 1)[None], 0)
    return Normalized(*_to_pixels((spectra, step, error, clear), pixels))


@jax.jit
def _crossing(normalized, mask, energies, widths, level):
    y, valid, pixels = _columns(normalized, mask)
    energies, widths = (jnp.asarray(e, y.dtype) for e in (energies, widths))
    above = y - level
    last, found = _best_step(lax.stop_gradient(above))
    found &= valid
    pair = last[None] + jnp.arange(2)[:, None]
    below, beyond = jnp.take_along_axis(above, pair, 0, mode="promise_in_bounds")
    share = -below / jnp.where(found, beyond - below, 1)
    energy = jnp.where(found, energies[last] + share * widths[last], 0)
    return Edge(*_to_pixels((energy, found), pixels))


def _best_step(above):
    """Index of the last sample before the best step up, and whether there is one."""

    def extend(best, pair):
        total, least, index = best
        below, beyond, here = pair
        total = total + below
        better = (below < 0) & (beyond >= 0) & (total < least)
        least, index = jnp.where(better, total, least), jnp.where(better, here, index)
        return (total, least, index), None

    zero = jnp.zeros_like(above[0])
    pairs = (above[:-1], above[1:], jnp.arange(len(above) - 1))
    # Better than a step before the first sample, whose sum is 0, to begin with.
    start = (zero, zero, jnp.zeros(zero.shape, int))
    (total, least, index), _ = lax.scan(extend, start, pairs)
    return index, least < jnp.minimum(total + above[-1], 0)


@jax.jit
def _summit(normalized, mask, energies, widths):
    y, valid, pixels = _columns(normalized, mask)
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
    return WhiteLine(*_to_pixels((energy, height, inside), pixels))


@partial(jax.jit, static_argnums=(4, 5))
def _fit(spectra, mask, references, sigma, sum_to_one, non_negative):
    y, valid, pixels = _columns(spectra, mask)
    num_references, num_energies = references.shape
    weights, covariance = _weights(y, references, sum_to_one, non_negative)
    weights = jnp.where(valid[None], weights, 0)
    square = jnp.sum((y - _product(references.T, weights)) ** 2, axis=0)
    if sigma is None:
        noise = _root(square / (num_energies - num_references + sum_to_one))
    else:
        noise = jnp.where(valid, _per_pixel("sigma", sigma, pixels, y.dtype), 0)
    errors = _root(jnp.diagonal(covariance))[:, None] * noise[None]
    rms = _root(square / num_energies)
    columns = _to_pixels((weights, errors, rms, noise, valid), pixels)
    return Fit(*columns[:4], covariance, columns[4])


def _weights(y, references, sum_to_one, non_negative):
    """Weights, and their covariance at unit noise."""
    # In the span of the references every solve is as small as their number.
    basis, triangle = jnp.linalg.qr(references.T)
    share = _product(basis.T, y)
    starts, projectors = _subsets(len(references), sum_to_one, non_negative, y.dtype)
    # A pseudo-inverse leaves roundings, of either sign, where there is no member.
    solvers = _product(projectors, jnp.linalg.pinv(_product(triangle, projectors)))
    best = jnp.zeros(y.shape[1], int)
    if non_negative:
        best = _best_subset(*map(lax.stop_gradient, (share, triangle, solvers)), starts)
    start = starts[best].T
    moves = jnp.einsum(
        "prs,sp->rp",
        solvers[best],
        share - _product(triangle, start),
        precision=lax.Precision.HIGHEST,
    )
    return start + moves, _product(solvers[-1], solvers[-1].T)


def _subsets(num_references, sum_to_one, non_negative, dtype):
    """A feasible point of every subset, and the projector onto where it may move."""
    members = np.arange(2**num_references)[:, None] >> np.arange(num_references) & 1
    members = members[int(sum_to_one) :] if non_negative else members[-1:]
    starts = np.zeros(members.shape)
    projectors = members[:, :, None] * np.eye(num_references)
    if sum_to_one:
        starts = members / members.sum(1, keepdims=True)
        projectors = projectors - starts[:, :, None] * members[:, None, :]
    return jnp.asarray(starts, dtype), jnp.asarray(projectors, dtype)


def _best_subset(share, triangle, solvers, starts):
    """Index of the subset with the least residual and no negative weight."""

    def better(best, subset):
        least, index = best
        solver, start, here = subset
        target = share - _product(triangle, start)[:, None]
        move = _product(solver, target)
        cost = jnp.sum((target - _product(triangle, move)) ** 2, axis=0)
        feasible = jnp.all(start[:, None] + move >= 0, axis=0) & (cost < least)
        return (
            jnp.where(feasible, cost, least),
            jnp.where(feasible, here, index),
        ), None

    worst = jnp.full(share.shape[1], jnp.inf, share.dtype)
    subsets = (solvers, starts, jnp.arange(len(starts)))
    (_, index), _ = lax.scan(better, (worst, jnp.zeros(worst.shape, int)), subsets)
    return index


@jax.jit
def _map(fit, valences):
    total = jnp.sum(fit.weights, axis=0)
    valid = fit.mask & (total > 0)
    phase = jnp.argmax(fit.weights, axis=0)
    confidence = jnp.where(valid, _confidence(fit, phase), 0.5)
    valence = error = None
    if valences is not None:
        valence, error = _valence(fit, valences, jnp.where(valid, total, 1))
        valence, error = (jnp.where(valid, image, 0) for image in (valence, error))
    return ChemicalMap(jnp.where(valid, phase, -1), confidence, valence, error, valid)


def _confidence(fit, phase):
    first = jnp.arange(len(fit.weights)).reshape(-1, *(1,) * phase.ndim) == phase[None]
    others = jnp.where(first, -jnp.inf, fit.weights)
    second = jnp.argmax(others, axis=0)
    margin = jnp.max(fit.weights, axis=0) - jnp.max(others, axis=0)
    variances = jnp.diagonal(fit.covariance)
    spread = variances[phase] + variances[second] - 2 * fit.covariance[phase, second]
    error = fit.sigma * _root(jnp.maximum(spread, 0))
    sure = jnp.where(margin > 0, 1.0, 0.5)
    return jnp.where(error > 0, ndtr(margin / jnp.where(error > 0, error, 1)), sure)


def _valence(fit, valences, total):
    """The mean valence and its error, by its derivative in the weights."""
    each = jnp.asarray(valences, fit.weights.dtype).reshape(-1, *(1,) * total.ndim)
    valence = jnp.sum(each * fit.weights, axis=0) / total
    slope = (each - valence[None]) / total[None]
    variance = jnp.einsum("r...,rs,s...->...", slope, fit.covariance, slope)
    return valence, fit.sigma * _root(jnp.maximum(variance, 0))


def _directions(num_references, sum_to_one):
    """Orthonormal columns that span the changes of weight that a fit allows."""
    if not sum_to_one:
        return np.eye(num_references)
    corner = np.eye(num_references)
    corner[:, 0] = 1
    return np.linalg.qr(corner)[0][:, 1:]


def _best_addition(rows, chosen, apart, criterion):
    """The energy to add to the chosen ones, if any is free, and its loss."""
    free = np.flatnonzero(apart[chosen].all(0))
    if not len(free):
        return None, np.inf
    known = rows[chosen].T @ rows[chosen]
    information = known + rows[free, :, None] * rows[free, None, :]
    # Directions that no energy has looked at yet shall count as very uncertain.
    floor = 1e-10 * np.sum(rows**2)
    curvature = np.maximum(np.linalg.eigvalsh(information), 0) + floor
    loss = np.sum(1 / curvature if criterion == "A" else -np.log(curvature), axis=1)
    best = np.argmin(loss)
    return free[best], loss[best]


def _exchange(rows, chosen, apart, criterion):
    """Exchange one energy for a better one, until there is none for any."""
    place, idle, loss = 0, 0, np.inf
    while idle < len(chosen):
        rest = chosen[:place] + chosen[place + 1 :]
        best, new_loss = _best_addition(rows, rest, apart, criterion)
        gain = loss - new_loss > 1e-9 * abs(new_loss)
        if gain:
            loss, chosen = new_loss, [*chosen[:place], best, *chosen[place + 1 :]]
        place, idle = (place + 1) % len(chosen), 0 if gain else idle + 1
    return chosen


def _num_energies(name, stack):
    shape = np.shape(stack)
    if not shape:
        raise ValueError(f"`{name}` must have an axis of energies, got a scalar.")
    return shape[0]


def _float_type(stack):
    return jnp.promote_types(jnp.asarray(stack).dtype, jnp.float32)


def _columns(stack, mask):
    """Spectra as columns, zero where invalid; where they are valid; pixels' shape."""
    stack = jnp.asarray(stack, _float_type(stack))
    num_energies, *pixels = stack.shape
    y = stack.reshape(num_energies, prod(pixels))
    valid = jnp.all(jnp.isfinite(y), axis=0)
    if mask is not None:
        mask = jnp.asarray(mask, bool)
        if mask.shape != tuple(pixels):
            raise ValueError(
                f"`mask` must have the shape of the pixels, {tuple(pixels)}, got "
                f"{mask.shape}; of a mask for each energy give `mask.all(0)`."
            )
        valid &= mask.reshape(-1)
    return jnp.where(valid[None], y, 0), valid, tuple(pixels)


def _to_pixels(columns, pixels):
    """Columns back as images, the leading axis kept where there is one."""
    return tuple(c.reshape(*c.shape[:-1], *pixels) for c in columns)


def _ascending(energies, num, *, least=1):
    energies = np.asarray(energies, float)
    if energies.shape != (num,) or num < least:
        raise ValueError(
            f"`energies` must be one per spectrum's sample, {num}, and at least "
            f"{least}, got shape {energies.shape}."
        )
    steps = np.diff(energies)
    if not np.all((steps > 0) & (steps < np.inf)):
        raise ValueError(
            "`energies` must ascend without repeats: sort them, and the spectra "
            "with them."
        )
    return energies


def _check_references(references, num_energies, sum_to_one):
    """Refuse what no fit can tell apart; values only where they are known."""
    if references.ndim != 2 or references.shape[1] != num_energies:
        raise ValueError(
            f"`references` must be one spectrum a row, of {num_energies} energies, "
            f"got shape {references.shape}."
        )
    if isinstance(references, core.Tracer):
        return
    columns = np.asarray(references, float).T
    if not np.isfinite(columns).all():
        raise ValueError("`references` must be finite: leave out the other energies.")
    directions = _directions(columns.shape[1], sum_to_one)
    rtol = num_energies * np.finfo(references.dtype).eps
    if np.linalg.matrix_rank(columns @ directions, rtol=rtol) < directions.shape[1]:
        raise ValueError(
            f"the {columns.shape[1]} `references` are mixtures of each other at these "
            f"{num_energies} energies: leave one out or add energies."
        )


def _spread(name, value, shape, dtype):
    """A value per energy, per pixel or for all as one for each sample."""
    value = jnp.asarray(value, dtype)
    if value.shape not in ((), shape[:1], shape[1:], shape):
        raise ValueError(
            f"`{name}` must be a scalar or have one value per energy, pixel or both, "
            f"of {shape}, got shape {value.shape}."
        )
    if value.shape == shape[:1]:
        value = value.reshape(-1, *(1,) * (len(shape) - 1))
    elif value.shape == shape[1:]:
        value = value[None]
    return jnp.broadcast_to(value, shape)


def _per_pixel(name, value, pixels, dtype):
    value = jnp.asarray(value, dtype)
    if value.shape not in ((), pixels):
        raise ValueError(
            f"`{name}` must be a scalar or one per pixel, {pixels}, "
            f"got shape {value.shape}."
        )
    return jnp.broadcast_to(value, pixels).reshape(-1)


def _root(square):
    """√, with derivative zero at zero."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
