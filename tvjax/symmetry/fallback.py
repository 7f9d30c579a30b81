"""How much of the estimate by symmetry, how much of the image's own?

    x = own + μ λ (by symmetry − own)

with λ the share of the mean that the test of the symmetry leaves to a pixel, and μ by
ring where the error against data that neither has seen is least: with d = λ (by
symmetry − own),

    μ = Σ d (y₂ − own) / v / Σ d² / v

A ring of few pixels tells its μ badly: it is drawn to that of all by as much as chance
alone would scatter them (DerSimonian, Laird 1986, 10.1016/0197-2456(86)90046-2).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from tvjax.symmetry.splits import Pair

# Standard deviations that the error must fall by to speak for the symmetry.
CERTAIN = 3.0
# Of the mean variance, that a pixel is taken to have at least.
FLOOR = 0.05


class Mixture(NamedTuple):
    """The share of the estimate by symmetry, and what it brings."""

    share: Float[np.ndarray, "height width"]  # μ λ in [0, 1]
    risk: float  # estimated mean squared error of the mixture
    own_risk: float  # of the image's own estimate
    certainty: float  # of their difference over v, in its standard deviations

    @property
    def helps(self) -> bool:
        """Whether the error over v is less than the own estimate's beyond chance.

        And not at the cost of the error itself, which is that of the bright pixels.
        """
        return self.certainty > CERTAIN and self.risk < self.own_risk


def least_mixture(
    symmetric: Float[ArrayLike, "height width"],
    own: Float[ArrayLike, "height width"],
    pair: Pair,
    level: Float[ArrayLike, "height width"],
    trust: Float[ArrayLike, "height width"],
    place: Float[ArrayLike, "height width"],
) -> Mixture:
    """Find the mixture of least error.

    Args:
        symmetric: Estimate by symmetry, from the part of the data that is seen.
        own: Estimate from that part of the image alone.
        pair: The image in two, as it is; the part held out judges.
        level: v, the expected variance of a pixel, from the part that is seen.
        trust: λ of each pixel.
        place: Of each pixel in the radius, in rings: in the first from zero to one.
    """
    mask, place = np.asarray(pair.mask), np.asarray(place, float)
    ring = place.astype(int)
    symmetric, own, held_out, variance, level, trust = (
        np.where(mask, z, 0).astype(float)
        for z in (symmetric, own, pair.held_out, pair.variance, level, trust)
    )
    apart = trust * (symmetric - own)
    weight = noise_weight(level, mask)

    def by_ring(z: np.ndarray) -> np.ndarray:
        return np.bincount(ring[mask], z[mask], ring.max() + 1)

    toward = by_ring(weight * apart * (held_out - own))
    squares = by_ring(weight * apart**2)
    spread = by_ring((weight * apart) ** 2 * np.maximum(variance, 0))
    by_itself = _drawn_together(toward, squares, spread)
    share = np.interp(place, np.arange(len(by_itself)) + 0.5, by_itself)
    mixed = own + share * apart
    errors = [(x - held_out) ** 2 - variance for x in (own, mixed)]
    own_risk, risk = (float(np.mean(error[mask])) for error in errors)
    sure = certainty(own, mixed, held_out, weight, np.maximum(variance, 0))
    return Mixture(share * trust, risk, own_risk, sure)


def noise_weight(
    variance: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    """One over the variance, bounded so that no dark pixel decides alone.

    Zero outside the mask.
    """
    mean = np.sum(variance, where=mask) / max(np.sum(mask), 1)
    floor = max(FLOOR * mean, np.finfo(float).tiny)
    return np.where(mask, 1 / np.maximum(variance, floor), 0)


def certainty(
    before: Float[ArrayLike, "height width"],
    after: Float[ArrayLike, "height width"],
    held_out: Float[ArrayLike, "height width"],
    weight: Float[ArrayLike, "height width"],
    variance: Float[ArrayLike, "height width"],
) -> float:
    """By how many standard deviations an estimate is nearer to data than another one.

        Σ w [(before − y₂)² − (after − y₂)²] / 2 √(Σ w² (after − before)² v)

    Args:
        before: One estimate.
        after: The other.
        held_out: y₂, which neither has seen.
        weight: w of each pixel, zero where it is not to be counted.
        variance: v of the held out data.
    """
    before, after, held_out, weight, variance = (
        np.asarray(z, float) for z in (before, after, held_out, weight, variance)
    )
    step = np.where(weight > 0, after - before, 0)
    residual = np.where(weight > 0, held_out - before, 0)
    nearer = np.sum(weight * step * (2 * residual - step))
    chance = 2 * np.sqrt(np.sum((weight * step) ** 2 * variance))
    return float(nearer / max(chance, np.finfo(np.float32).tiny))


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
