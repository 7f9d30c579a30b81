"""The fallback on the image's own estimate where that by symmetry is worse.

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
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tvjax.risk.splitting import Split

# The symmetry helps if the error falls by more than so many standard deviations.
CERTAIN = 3.0
# Least variance that a pixel is taken to have, as a share of the mean variance.
FLOOR = 0.05


class Fallback(NamedTuple):
    """How far the estimate by symmetry is trusted, and what it brings.

    Attributes:
        share: Share μ λ of the estimate by symmetry, in [0, 1]; the rest is the own.
        risk: Estimated mean squared error of both together.
        own_risk: Estimated mean squared error of the image's own estimate.
        certainty: Difference of these errors over v, in its standard deviations.
    """

    share: Float[np.ndarray, "height width"]
    risk: float
    own_risk: float
    certainty: float

    @property
    def helps(self) -> bool:
        """Whether the symmetry lowers the error over v beyond chance.

        It must not raise the error itself, which is that of the bright pixels.
        """
        return self.certainty > CERTAIN and self.risk < self.own_risk


def find_fallback(
    symmetric: Float[ArrayLike, "height width"],
    own: Float[ArrayLike, "height width"],
    split: Split,
    *,
    level: Float[ArrayLike, "height width"],
    share: Float[ArrayLike, "height width"],
    position: Float[ArrayLike, "height width"],
) -> Fallback:
    """Find the μ of least error.

    Args:
        symmetric: Estimate by symmetry, from the part of the data that is seen.
        own: Estimate from that part of the image alone.
        split: The image in two parts; the one held out judges.
        level: Expected variance v of a pixel, from the part that is seen.
        share: λ of each pixel.
        position: Radius of each pixel in rings: from zero to one in the first.
    """
    mask, position = np.asarray(split.valid), np.asarray(position, float)
    ring = position.astype(int)
    symmetric, own, held_out, variance, level, share = (
        np.where(mask, z, 0).astype(float)
        for z in (symmetric, own, split.held_out, split.variance, level, share)
    )
    apart = share * (symmetric - own)
    weight = noise_weight(level, mask)

    def by_ring(z: np.ndarray) -> np.ndarray:
        return np.bincount(ring[mask], z[mask], ring.max() + 1)

    toward = by_ring(weight * apart * (held_out - own))
    squares = by_ring(weight * apart**2)
    spread = by_ring((weight * apart) ** 2 * np.maximum(variance, 0))
    by_itself = _drawn_together(toward, squares, spread)
    trust = np.interp(position, np.arange(len(by_itself)) + 0.5, by_itself)
    combined = own + trust * apart
    errors = [(x - held_out) ** 2 - variance for x in (own, combined)]
    own_risk, risk = (float(np.mean(error[mask])) for error in errors)
    sure = certainty(own, combined, held_out, weight, np.maximum(variance, 0))
    return Fallback(trust * share, risk, own_risk, sure)


def noise_weight(
    variance: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    """One over the variance, bounded so that no dark pixel decides alone.

    The weight is zero outside the mask.
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
    """The number of standard deviations by which one estimate is nearer to the data.

        Σ w [(before − y₂)² − (after − y₂)²] / 2 √(Σ w² (after − before)² v)

    Args:
        before: Estimate that the other is compared with.
        after: Estimate that is nearer where the number is positive.
        held_out: Data y₂ that neither estimate has seen.
        weight: Weight w of each pixel, zero where it is not to be counted.
        variance: Variance v of the data.
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
    toward: Float[np.ndarray, " ring"],
    squares: Float[np.ndarray, " ring"],
    spread: Float[np.ndarray, " ring"],
) -> Float[np.ndarray, " ring"]:
    """μ of each ring, between its own estimate and that of all rings together."""
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
