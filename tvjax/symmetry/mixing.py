"""How much of the estimate by symmetry, how much of the image's own?

    x = μ by symmetry + (1 − μ) own

with μ by ring where the error against data that neither has seen is least:

    μ = Σ (y₂ − own) (by symmetry − own) / Σ (by symmetry − own)²

A ring of few pixels tells its μ badly: it is drawn to that of all by as much as chance
alone would scatter them (DerSimonian, Laird 1986, 10.1016/0197-2456(86)90046-2).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from tvjax.symmetry.halves import Pair

# Standard deviations that the error must fall by to speak for the symmetry.
CERTAIN = 3.0


class Mixture(NamedTuple):
    """The share of the estimate by symmetry, and what it brings."""

    share: Float[np.ndarray, "y x"]  # μ in [0, 1]
    risk: float  # estimated mean squared error of the mixture
    own_risk: float  # of the image's own estimate
    certainty: float  # of their difference, in its standard deviations

    @property
    def helps(self) -> bool:
        """Whether the error is less than the own estimate's beyond chance."""
        return self.certainty > CERTAIN


def least_mixture(
    symmetric: Float[ArrayLike, "y x"],
    own: Float[ArrayLike, "y x"],
    pair: Pair,
    place: Float[ArrayLike, "y x"],
) -> Mixture:
    """Find the mixture of least error.

    Args:
        symmetric: Estimate by symmetry, from the part of the data that is seen.
        own: Estimate from that part of the image alone.
        pair: The image in two, as it is; the part held out judges.
        place: Of each pixel in the radius, in rings: in the first from zero to one.
    """
    mask, place = np.asarray(pair.mask), np.asarray(place, float)
    ring = place.astype(int)
    symmetric, own, held_out, variance = (
        np.where(mask, z, 0).astype(float)
        for z in (symmetric, own, pair.held_out, pair.variance)
    )
    apart = symmetric - own

    def by_ring(z: np.ndarray) -> np.ndarray:
        return np.bincount(ring[mask], z[mask], ring.max() + 1)

    toward = by_ring(apart * (held_out - own))
    squares = by_ring(apart**2)
    spread = by_ring(apart**2 * np.maximum(variance, 0))
    by_itself = _drawn_together(toward, squares, spread)
    share = np.interp(place, np.arange(len(by_itself)) + 0.5, by_itself)
    mixed = own + share * apart
    errors = [(x - held_out) ** 2 - variance for x in (own, mixed)]
    own_risk, risk = (float(np.mean(error[mask])) for error in errors)
    chance = 2 * np.sqrt(np.sum((share * apart) ** 2 * np.maximum(variance, 0)))
    certainty = np.sum(mask) * (own_risk - risk) / max(chance, 1e-30)
    return Mixture(share, risk, own_risk, float(certainty))


def _drawn_together(
    toward: np.ndarray, squares: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """μ of each ring, between what it says itself and what all say."""
    known = (squares > 0) & (spread > 0)
    safe = np.where(known, squares, 1)
    each = np.where(known, toward / safe, 0)
    weight = np.where(known, safe**2 / np.where(known, spread, 1), 0)
    total = max(np.sum(weight), 1e-300)
    common = np.sum(weight * each) / total
    scatter = np.sum(weight * (each - common) ** 2) - (np.sum(known) - 1)
    beyond = scatter / max(total - np.sum(weight**2) / total, 1e-300)
    if not beyond > 0:
        return np.full_like(each, np.clip(common, 0, 1))
    drawn = (weight * each + common / beyond) / (weight + 1 / beyond)
    return np.clip(drawn, 0, 1)
