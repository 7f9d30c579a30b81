"""Which references are in each pixel, how much of each, and how surely?"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, core, lax, numpy as jnp
from jax.scipy.special import ndtr
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from tvjax.xanes.columns import (
    count_energies,
    float_type,
    per_pixel,
    product,
    root,
    to_columns,
    to_pixels,
)

# Two to the power of this many subsets of the references are solved in every pixel.
MOST_REFERENCES = 8


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
    num_energies = count_energies("spectra", spectra)
    references = jnp.asarray(references, float_type(spectra))
    check_references(references, num_energies, sum_to_one)
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


def check_references(references, num_energies, sum_to_one):
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
    directions = free_directions(columns.shape[1], sum_to_one)
    rtol = num_energies * np.finfo(references.dtype).eps
    if np.linalg.matrix_rank(columns @ directions, rtol=rtol) < directions.shape[1]:
        raise ValueError(
            f"the {columns.shape[1]} `references` are mixtures of each other at these "
            f"{num_energies} energies: leave one out or add energies."
        )


def free_directions(num_references, sum_to_one):
    """Orthonormal columns that span the changes of weight that a fit allows."""
    if not sum_to_one:
        return np.eye(num_references)
    corner = np.eye(num_references)
    corner[:, 0] = 1
    return np.linalg.qr(corner)[0][:, 1:]


@partial(jax.jit, static_argnums=(4, 5))
def _fit(spectra, mask, references, sigma, sum_to_one, non_negative):
    y, valid, pixels = to_columns(spectra, mask)
    num_references, num_energies = references.shape
    weights, covariance = _weights(y, references, sum_to_one, non_negative)
    weights = jnp.where(valid[None], weights, 0)
    square = jnp.sum((y - product(references.T, weights)) ** 2, axis=0)
    if sigma is None:
        noise = root(square / (num_energies - num_references + sum_to_one))
    else:
        noise = jnp.where(valid, per_pixel("sigma", sigma, pixels, y.dtype), 0)
    errors = root(jnp.diagonal(covariance))[:, None] * noise[None]
    rms = root(square / num_energies)
    columns = to_pixels((weights, errors, rms, noise, valid), pixels)
    return Fit(*columns[:4], covariance, columns[4])


def _weights(y, references, sum_to_one, non_negative):
    """Weights, and their covariance at unit noise."""
    # In the span of the references every solve is as small as their number.
    basis, triangle = jnp.linalg.qr(references.T)
    share = product(basis.T, y)
    starts, projectors = _subsets(len(references), sum_to_one, non_negative, y.dtype)
    # A pseudo-inverse leaves roundings, of either sign, where there is no member.
    solvers = product(projectors, jnp.linalg.pinv(product(triangle, projectors)))
    best = jnp.zeros(y.shape[1], int)
    if non_negative:
        best = _best_subset(*map(lax.stop_gradient, (share, triangle, solvers)), starts)
    start = starts[best].T
    moves = jnp.einsum(
        "prs,sp->rp",
        solvers[best],
        share - product(triangle, start),
        precision=lax.Precision.HIGHEST,
    )
    return start + moves, product(solvers[-1], solvers[-1].T)


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
    error = fit.sigma * root(jnp.maximum(spread, 0))
    sure = jnp.where(margin > 0, 1.0, 0.5)
    return jnp.where(error > 0, ndtr(margin / jnp.where(error > 0, error, 1)), sure)


def _valence(fit, valences, total):
    """The mean valence and its error, by its derivative in the weights."""
    each = jnp.asarray(valences, fit.weights.dtype).reshape(-1, *(1,) * total.ndim)
    valence = jnp.sum(each * fit.weights, axis=0) / total
    slope = (each - valence[None]) / total[None]
    variance = jnp.einsum("r...,rs,s...->...", slope, fit.covariance, slope)
    return valence, fit.sigma * root(jnp.maximum(variance, 0))
