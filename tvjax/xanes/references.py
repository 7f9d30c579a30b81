"""Fits of the spectra by mixtures of references, and the phase that leads."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, core, lax, numpy as jnp
from jax.scipy.special import ndtr
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Real

from tvjax.xanes.columns import (
    count_energies,
    float_type,
    per_pixel,
    product,
    root,
    to_columns,
    to_pixels,
)

# A fit solves every subset of the references in every pixel, two to the power of their
# number: 256 for eight.
MOST_REFERENCES = 8


class Fit(NamedTuple):
    """Coefficients of the references in every pixel."""

    coefficients: Float[Array, " reference *pixels"]  # a
    errors: Float[Array, " reference *pixels"]  # one standard deviation
    residual: Float[Array, "*pixels"]  # root of the mean square over the energies
    sigma: Float[Array, "*pixels"]  # noise of the spectra, given or estimated
    covariance: Float[Array, "reference reference"]  # of the coefficients, at noise 1
    mask: Bool[Array, "*pixels"]


class ChemicalMap(NamedTuple):
    """The phase that leads in every pixel, and the mean valence."""

    phase: Int[Array, "*pixels"]  # index of the reference, −1 where invalid
    confidence: Float[Array, "*pixels"]  # ½ to 1
    valence: Float[Array, "*pixels"] | None
    valence_error: Float[Array, "*pixels"] | None  # one standard deviation
    mask: Bool[Array, "*pixels"]


def fit_references(
    y: Real[ArrayLike, " energy *pixels"],
    references: Real[ArrayLike, "reference energy"],
    *,
    sum_to_one: bool = False,
    non_negative: bool = True,
    sigma: Real[ArrayLike, "*pixels"] | Real[ArrayLike, ""] | None = None,
    mask: Bool[ArrayLike, "*pixels"] | None = None,
) -> Fit:
    """Fit the spectrum in each pixel by a linear combination of references.

        min_a ‖y − Σᵣ aᵣ referenceᵣ‖²,   by default a ≥ 0, on request Σ a = 1

    Exact: the least squares of every subset of the references is solved, and the best
    of those without a negative coefficient is the answer. Where a coefficient changes
    sign, the derivative is that of one side.

    The errors are those of the coefficients before any is held at zero, with the others
    free, so that a coefficient of zero has one too. The constraint a ≥ 0 can only bring
    the coefficients closer to the truth.

    For noise that differs between energies, divide spectra and references by it, and
    give `sigma=1`.

    Args:
        y: Spectra of the pixels, in the unit of the references.
        references: One spectrum a row, at the same energies; at most eight.
        sum_to_one: Let the coefficients sum to one exactly.
        non_negative: Allow no negative coefficient.
        sigma: Standard deviation of the noise of the spectra, one for all or one per
            pixel; by default from the residual, which also counts what no mixture of
            the references follows.
        mask: True where a pixel is valid.

    Raises:
        ValueError: For references of another length than the spectra, or that are
            mixtures of each other.
    """
    num_energies = count_energies("y", y)
    rows = jnp.asarray(references, float_type(y))
    check_references(rows, num_energies, sum_to_one)
    num_references = len(rows)
    if num_references > MOST_REFERENCES and non_negative:
        raise ValueError(
            f"`references` must be at most {MOST_REFERENCES} for a fit without "
            f"negative coefficients, got {num_references}."
        )
    if sigma is None and num_energies < num_references - sum_to_one + 1:
        raise ValueError(
            f"{num_energies} energies leave nothing to estimate the noise of a fit of "
            f"{num_references} references from: give `sigma`."
        )
    return _fit(y, mask, rows, sigma, sum_to_one, non_negative)


def chemical_map(
    fit: Fit,
    valences: Real[ArrayLike, " reference"] | Sequence[float] | None = None,
) -> ChemicalMap:
    """Which reference leads in each pixel, how surely, and the mean valence.

        confidence = Φ((a₁ − a₂) / √var(a₁ − a₂))   of the two greatest coefficients
        valence = Σ aᵣ vᵣ / Σ aᵣ

    The confidence is the probability, for normal errors, that a fit to other noise puts
    the leading reference before the second as well: ½ where both are equal, 1 where the
    noise cannot exchange them. It knows nothing of references that are missing. The
    error of the valence is to first order in the noise. Pixels where the coefficients
    do not sum to a positive number are invalid.

    Args:
        fit: Fit by `fit_references` of references that are normalized alike.
        valences: Valence of each reference.

    Raises:
        ValueError: For fewer than two references, or another number of valences.
    """
    num_references = len(fit.coefficients)
    if num_references < 2:
        raise ValueError(f"a map needs at least two references, got {num_references}.")
    if valences is not None and np.shape(valences) != (num_references,):
        raise ValueError(
            f"`valences` must be one per reference, {num_references}, "
            f"got shape {np.shape(valences)}."
        )
    return _map(fit, None if valences is None else jnp.asarray(valences, float))


def check_references(
    references: Float[Array, "..."] | Float[np.ndarray, "..."],
    num_energies: int,
    sum_to_one: bool,
) -> None:
    """Refuse what no fit can tell apart; values only where they are known.

    Raises:
        ValueError: The references have another number of energies, are not finite, or
            are mixtures of each other.
    """
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
    directions = free_directions(columns.shape[1], sum_to_one)
    rtol = num_energies * np.finfo(references.dtype).eps
    if np.linalg.matrix_rank(columns @ directions, rtol=rtol) < directions.shape[1]:
        raise ValueError(
            f"the {columns.shape[1]} `references` are mixtures of each other at these "
            f"{num_energies} energies: leave one out or add energies."
        )


def free_directions(
    num_references: int, sum_to_one: bool
) -> Float[np.ndarray, "reference direction"]:
    """Orthonormal columns that span the changes of coefficients that a fit allows."""
    if not sum_to_one:
        return np.eye(num_references)
    corner = np.eye(num_references)
    corner[:, 0] = 1
    return np.linalg.qr(corner)[0][:, 1:]


@partial(jax.jit, static_argnums=(4, 5))
def _fit(
    spectra: Real[ArrayLike, " energy *pixels"],
    mask: Bool[ArrayLike, "*pixels"] | None,
    references: Float[Array, "reference energy"],
    sigma: Real[ArrayLike, "*pixels"] | Real[ArrayLike, ""] | None,
    sum_to_one: bool,
    non_negative: bool,
) -> Fit:
    """Coefficients, residual and noise of all pixels."""
    y, valid, pixels = to_columns(spectra, mask)
    num_references, num_energies = references.shape
    found, covariance = _coefficients(y, references, sum_to_one, non_negative)
    coefficients = jnp.where(valid[None], found, 0)
    square = jnp.sum((y - product(references.T, coefficients)) ** 2, axis=0)
    if sigma is None:
        noise = root(square / (num_energies - num_references + sum_to_one))
    else:
        noise = jnp.where(valid, per_pixel("sigma", sigma, pixels, y.dtype), 0)
    errors = root(jnp.diagonal(covariance))[:, None] * noise[None]
    return Fit(
        coefficients=to_pixels(coefficients, pixels),
        errors=to_pixels(errors, pixels),
        residual=to_pixels(root(square / num_energies), pixels),
        sigma=to_pixels(noise, pixels),
        covariance=covariance,
        mask=to_pixels(valid, pixels),
    )


def _coefficients(
    y: Float[Array, "energy pixel"],
    references: Float[Array, "reference energy"],
    sum_to_one: bool,
    non_negative: bool,
) -> tuple[Float[Array, "reference pixel"], Float[Array, "reference reference"]]:
    """Coefficients, and their covariance at unit noise."""
    # in the span of the references every solve is as small as their number
    basis, triangle = jnp.linalg.qr(references.T)
    share = product(basis.T, y)
    starts, projectors = _subsets(len(references), sum_to_one, non_negative, y.dtype)
    # a pseudo-inverse leaves roundings, of either sign, where there is no member
    solvers = product(projectors, jnp.linalg.pinv(product(triangle, projectors)))
    best = jnp.zeros(y.shape[1], int)
    if non_negative:
        best = _best_subset(
            lax.stop_gradient(share),
            lax.stop_gradient(triangle),
            lax.stop_gradient(solvers),
            starts,
        )
    start = starts[best].T
    moves = jnp.einsum(
        "prs,sp->rp",
        solvers[best],
        share - product(triangle, start),
        precision=lax.Precision.HIGHEST,
    )
    return start + moves, product(solvers[-1], solvers[-1].T)


def _subsets(
    num_references: int, sum_to_one: bool, non_negative: bool, dtype: np.dtype
) -> tuple[
    Float[Array, "subset reference"], Float[Array, "subset reference reference"]
]:
    """A feasible point of every subset, and the projector onto where it may move."""
    members = np.arange(2**num_references)[:, None] >> np.arange(num_references) & 1
    members = members[int(sum_to_one) :] if non_negative else members[-1:]
    starts = np.zeros(members.shape)
    projectors = members[:, :, None] * np.eye(num_references)
    if sum_to_one:
        starts = members / members.sum(1, keepdims=True)
        projectors = projectors - starts[:, :, None] * members[:, None, :]
    return jnp.asarray(starts, dtype), jnp.asarray(projectors, dtype)


def _best_subset(
    share: Float[Array, "direction pixel"],
    triangle: Float[Array, "direction reference"],
    solvers: Float[Array, "subset reference direction"],
    starts: Float[Array, "subset reference"],
) -> Int[Array, " pixel"]:
    """Index of the subset with the least residual and no negative coefficient."""

    def better(
        best: tuple[Array, Array], subset: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        least, index = best
        solver, start, here = subset
        target = share - product(triangle, start)[:, None]
        move = product(solver, target)
        cost = jnp.sum((target - product(triangle, move)) ** 2, axis=0)
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
def _map(fit: Fit, valences: Float[Array, " reference"] | None) -> ChemicalMap:
    """The phase that leads, its confidence, and the valence where it is known."""
    total = jnp.sum(fit.coefficients, axis=0)
    valid = fit.mask & (total > 0)
    phase = jnp.argmax(fit.coefficients, axis=0)
    confidence = jnp.where(valid, _confidence(fit, phase), 0.5)
    valence = error = None
    if valences is not None:
        valence, error = _valence(fit, valences, jnp.where(valid, total, 1))
        valence, error = (jnp.where(valid, image, 0) for image in (valence, error))
    return ChemicalMap(jnp.where(valid, phase, -1), confidence, valence, error, valid)


def _confidence(fit: Fit, phase: Int[Array, "*pixels"]) -> Float[Array, "*pixels"]:
    """How surely the leading reference leads."""
    a = fit.coefficients
    first = jnp.arange(len(a)).reshape(-1, *(1,) * phase.ndim) == phase[None]
    others = jnp.where(first, -jnp.inf, a)
    second = jnp.argmax(others, axis=0)
    margin = jnp.max(a, axis=0) - jnp.max(others, axis=0)
    variances = jnp.diagonal(fit.covariance)
    spread = variances[phase] + variances[second] - 2 * fit.covariance[phase, second]
    error = fit.sigma * root(jnp.maximum(spread, 0))
    sure = jnp.where(margin > 0, 1.0, 0.5)
    return jnp.where(error > 0, ndtr(margin / jnp.where(error > 0, error, 1)), sure)


def _valence(
    fit: Fit, valences: Float[Array, " reference"], total: Float[Array, "*pixels"]
) -> tuple[Float[Array, "*pixels"], Float[Array, "*pixels"]]:
    """The mean valence and its error, by its derivative in the coefficients."""
    each = jnp.asarray(valences, fit.coefficients.dtype).reshape(-1, *(1,) * total.ndim)
    valence = jnp.sum(each * fit.coefficients, axis=0) / total
    slope = (each - valence[None]) / total[None]
    variance = jnp.einsum("r...,rs,s...->...", slope, fit.covariance, slope)
    return valence, fit.sigma * root(jnp.maximum(variance, 0))
