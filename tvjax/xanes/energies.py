"""Choice of the energies at which to measure."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Real

from tvjax.xanes.columns import check_ascending
from tvjax.xanes.references import check_references, free_directions

Criterion: TypeAlias = Literal["A", "D"]


class Design(NamedTuple):
    """The energies to measure at, and what they will give."""

    indices: Int[np.ndarray, " chosen"]  # ascending
    energies: Float[np.ndarray, " chosen"]  # eV
    errors: Float[np.ndarray, " reference"]  # of the coefficients, at noise 1


def choose_energies(
    references: Real[ArrayLike, "reference energy"],
    energies: Real[ArrayLike, " energy"],
    num_energies: int,
    *,
    criterion: Criterion = "A",
    sum_to_one: bool = False,
    spacing: float = 0.0,
) -> Design:
    """Choose the energies at which a fit of the references has the least error.

    With the references at the chosen energies as columns X, and noise of 1:

        A    min Σᵣ var(aᵣ) = tr (Xᵀ X)⁻¹
        D    min the volume of the ellipsoid of errors, det (Xᵀ X)⁻¹

    Energies are added one by one, then exchanged one for one until no exchange is
    better (Fedorov 1972). That is a local optimum, as a rule the best one or within a
    percent of it. For a constant background add a row of ones to the references.

    Args:
        references: One spectrum a row.
        energies: At which the references are given, in eV, ascending.
        num_energies: How many energies to choose, at least as many as there are
            references.
        criterion: What to minimize: "A" the variances, "D" the volume.
        sum_to_one: Whether the fit will let the coefficients sum to one.
        spacing: Least distance in eV between two chosen energies, for instance the
            resolution of the monochromator.

    Raises:
        ValueError: For references that are mixtures of each other, or a number of
            energies that is too small or does not fit in with `spacing`.
    """
    if criterion not in ("A", "D"):
        raise ValueError(f"`criterion` must be 'A' or 'D', got {criterion!r}.")
    grid = check_ascending(energies, np.size(energies))
    spectra = np.asarray(references, float)
    check_references(spectra, len(grid), sum_to_one)
    rows = spectra.T @ free_directions(len(spectra), sum_to_one)
    if not rows.shape[1] <= num_energies <= len(grid):
        raise ValueError(
            f"`num_energies` must lie between {rows.shape[1]} and {len(grid)}, "
            f"got {num_energies}."
        )
    apart = np.abs(grid[:, None] - grid) >= max(spacing, np.finfo(float).tiny)
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
    errors = expected_errors(spectra, indices, sum_to_one=sum_to_one)
    return Design(indices, grid[indices], errors)


def expected_errors(
    references: Real[ArrayLike, "reference energy"],
    indices: Int[ArrayLike, " chosen"] | Sequence[int],
    sigma: float = 1.0,
    *,
    sum_to_one: bool = False,
) -> Float[np.ndarray, " reference"]:
    """Standard errors of the coefficients, σ √diag (Xᵀ X)⁻¹, at some of the energies.

    Args:
        references: One spectrum a row.
        indices: Indices of the energies that are measured; an energy that is named
            twice is measured twice.
        sigma: Standard deviation of the noise of one measurement, in the unit of the
            references.
        sum_to_one: Whether the fit lets the coefficients sum to one.

    Raises:
        ValueError: For energies at which the references are mixtures of each other.
    """
    places = np.asarray(indices)
    chosen = np.asarray(references, float)[..., places]
    check_references(chosen, places.size, sum_to_one)
    directions = free_directions(len(chosen), sum_to_one)
    _, triangle = np.linalg.qr(chosen.T @ directions)
    return sigma * np.linalg.norm(directions @ np.linalg.inv(triangle), axis=1)


def _best_addition(
    rows: Float[np.ndarray, "energy direction"],
    chosen: list[int],
    apart: Bool[np.ndarray, "energy energy"],
    criterion: Criterion,
) -> tuple[int | None, float]:
    """The energy to add to the chosen ones, if any is free, and its loss."""
    free = np.flatnonzero(apart[chosen].all(0))
    if not len(free):
        return None, np.inf
    known = rows[chosen].T @ rows[chosen]
    information = known + rows[free, :, None] * rows[free, None, :]
    # directions that no energy has looked at yet shall count as very uncertain
    floor = 1e-10 * np.sum(rows**2)
    curvature = np.maximum(np.linalg.eigvalsh(information), 0) + floor
    loss = np.sum(1 / curvature if criterion == "A" else -np.log(curvature), axis=1)
    best = np.argmin(loss)
    return int(free[best]), float(loss[best])


def _exchange(
    rows: Float[np.ndarray, "energy direction"],
    chosen: list[int],
    apart: Bool[np.ndarray, "energy energy"],
    criterion: Criterion,
) -> list[int]:
    """Exchange one energy for a better one, until there is none for any."""
    place, idle, loss = 0, 0, np.inf
    while idle < len(chosen):
        rest = chosen[:place] + chosen[place + 1 :]
        best, new_loss = _best_addition(rows, rest, apart, criterion)
        gain = loss - new_loss > 1e-9 * abs(new_loss)
        if gain and best is not None:
            loss, chosen = new_loss, [*chosen[:place], best, *chosen[place + 1 :]]
        place, idle = (place + 1) % len(chosen), 0 if gain else idle + 1
    return chosen
