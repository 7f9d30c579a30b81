"""How the variance of the noise follows from the mean: the laws that are compared.

constant        var = a                 read-out, or noise of no known origin
counts          var = b λ               photons times a gain
square          var = c λ²              speckle, fluctuating gain
line            var = a + b λ           photons and read-out, or a pedestal
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tvjax.noise.floor import Floors, UNSEEN

# A floor that lies further above a law, in standard errors, is structure: it counts no
# more than this.
STRUCTURE = 2.0
# One that lies further below is rare, but happens: it counts linearly from here on.
BELOW = 3.0
# How often a line is fitted again to the floors that it explains.
ROUNDS = 5
# Number of levels that are tried.
LEVELS = 256


class Law(NamedTuple):
    """Variance against mean, var = a + b λ + c λ².

    Attributes:
        a: Variance at mean 0.
        b: Slope.
        c: Half the curvature.
        misfit: How badly floors disagree; the less the better. Some ten standard errors
            squared are a difference.
    """

    a: float
    b: float
    c: float
    misfit: float

    def variance(
        self, mean: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape"]:
        """The variance at a mean; never below zero."""
        return np.maximum(self.a + self.b * mean + self.c * mean**2, 0)


def constant(floors: Floors) -> Law:
    """The best constant variance."""
    level, misfit = _best_level(floors, np.ones_like(floors.mean))
    return Law(level, 0.0, 0.0, misfit)


def counts(floors: Floors) -> Law:
    """The best variance in proportion to the mean."""
    level, misfit = _best_level(floors, floors.mean)
    return Law(0.0, level, 0.0, misfit)


def square(floors: Floors) -> Law:
    """The best variance in proportion to the square of the mean."""
    level, misfit = _best_level(floors, floors.mean**2)
    return Law(0.0, 0.0, level, misfit)


def line(floors: Floors, *, slope: float | None = None) -> Law:
    """The best variance linear in the mean; its slope is ≥ 0, or given.

    Lines through all pairs of floors are tried, and the best is fitted to what it
    explains.
    """
    mean, variance = floors.mean, floors.variance
    if not len(mean):
        return Law(0.0, 0.0, 0.0, np.inf)
    first, second = np.triu_indices(len(mean), 1)
    apart = mean[second] - mean[first]
    known = apart > 1e-9 * max(np.abs(mean).max(), 1e-300)
    rise = (variance[second] - variance[first])[known] / apart[known]
    slopes = np.maximum(rise, 0) if slope is None else np.full(rise.shape, slope)
    starts = variance[first][known] - slopes * mean[first][known]
    level = constant(floors)
    lines = np.stack([np.append(starts, level.a), np.append(slopes, slope or 0.0)], 1)
    misfits = np.asarray([_misfit(floors, a + b * mean) for a, b in lines])
    a, b = lines[np.argmin(misfits)]
    least = misfits.min()
    for _ in range(ROUNDS):
        expected = np.maximum(a + b * mean, 1e-9 * variance)
        near = np.abs(_residual(floors, expected)) < STRUCTURE
        weight = near / (_errors(floors) * expected) ** 2
        if np.count_nonzero(weight) < 3:
            break
        centre = np.average(mean, weights=weight)
        height = np.average(variance, weights=weight)
        off = mean - centre
        fitted = slope
        if fitted is None:
            if not np.ptp(mean[near]) > 0:
                break
            fitted = np.sum(weight * off * (variance - height)) / np.sum(
                weight * off**2
            )
        trial = (height - fitted * centre, fitted)
        misfit = _misfit(floors, trial[0] + trial[1] * mean)
        if trial[1] < 0 or misfit > least:
            break
        (a, b), least = trial, misfit
    return Law(float(a), float(b), 0.0, float(least))


def misfit_of(floors: Floors, law: Law) -> float:
    """How badly the floors disagree with a law that is given."""
    return _misfit(floors, law.variance(floors.mean))


def _best_level(
    floors: Floors, shape: Float[np.ndarray, " floor"]
) -> tuple[float, float]:
    """The level of least misfit, in multiples of a shape."""
    there = shape > 0
    if not there.any():
        return 0.0, np.inf
    ratios = floors.variance[there] / shape[there]
    levels = np.geomspace(0.8 * ratios.min(), 1.1 * ratios.max(), LEVELS)
    levels = np.append(levels, ratios)
    misfits = [_misfit(floors, level * np.where(there, shape, 0)) for level in levels]
    best = int(np.argmin(misfits))
    # the mean of what agrees is more precise than a grid
    near = np.abs(_residual(floors, levels[best] * shape)) < STRUCTURE
    if near.any():
        weight = 1 / _errors(floors)[near] ** 2
        relative = floors.variance / np.where(there, shape, np.inf)
        level = np.average(relative[near], weights=weight)
        misfit = _misfit(floors, level * shape)
        if misfit < misfits[best]:
            return float(level), float(misfit)
    return float(levels[best]), float(misfits[best])


def _errors(floors: Floors) -> Float[np.ndarray, " floor"]:
    return np.hypot(floors.error, UNSEEN)


def _residual(
    floors: Floors, expected: Float[np.ndarray, " floor"]
) -> Float[np.ndarray, " floor"]:
    expected = np.maximum(expected, 1e-9 * floors.variance)
    return (floors.variance - expected) / (expected * _errors(floors))


def _misfit(floors: Floors, expected: Float[np.ndarray, " floor"]) -> float:
    r = _residual(floors, expected)
    above = np.minimum(r, STRUCTURE) ** 2
    below = np.where(r > -BELOW, r**2, 2 * BELOW * np.abs(r) - BELOW**2)
    return float(np.sum(np.where(r > 0, above, below)))


def agreement(floors: Floors, law: Law) -> tuple[float, float]:
    """Shares of the floors that agree with a law, and that lie below it."""
    r = _residual(floors, law.variance(floors.mean))
    return float(np.mean(np.abs(r) < STRUCTURE)), float(np.mean(r < -BELOW))
