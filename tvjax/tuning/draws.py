"""A strength chosen by many random splits of the data, with an error bar.

One split deals the data out to a part that is denoised and a part that judges
(`tvjax.tuning.dealing`). Its risk R has a slope g = dR/d log α, which is averaged over
many splits of many blocks (`tvjax.tuning.tally`). The descent's Newton step turns the
error of that mean into the relative error of the strength, √(var ḡ)/R″.
"""

from functools import partial
from typing import cast, NamedTuple

import jax
import numpy as np
import optax
from jax import Array, numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from tvjax.operators import Norm
from tvjax.tuning.dealing import Dealer
from tvjax.tuning.descent import secant, SecantState
from tvjax.tuning.tally import (
    AGAIN,
    MOST_BATCHES,
    most_batches,
    SlopeTally,
    spread_batches,
)
from tvjax.tuning.weights import Weights

# The descent begins at this multiple of the noise's deviation, where the strength of
# most images is.
START = 0.8
# The strength stays within these multiples of its start: beyond lie no denoising, and
# no image.
RANGE = (1e-3, 1e3)
# The descent goes over one batch of blocks, a quarter of all, and all.
QUARTER = 4
# Each part of it ends when a step is shorter than this, or after so many.
SHORT, NUM_STEPS = 0.1, 12
# Where single photons are flattened the risk has a wall, and at its foot a Newton step
# is far too short: the descent ends only where the slope is hardly more than chance, by
# so many of its standard errors, or between two slopes of opposite signs. A short step
# is lengthened to so much until it lies there, one that leaves them ends halfway
# between, and within so narrow a bracket the last step is not tried any more.
NEAR, PROBE, NARROW = 1.0, 0.1, 0.12
# The more is smoothed, the less is left to change: the curvature of the risk fades by
# about the third power of the strength.
FADING = 3.0
# One object, because its step is compiled.
OPTIMIZER = secant(first_step=0.2, max_step=0.5, fading=FADING)
# Where the risk is flat, chance would choose: of strengths that the data cannot tell
# from the best by so many standard errors of the slope, the weakest is taken, which
# keeps most of what is weak (the one-standard-error rule of Breiman, Friedman, Olshen,
# Stone 1984). With more data it becomes the best.
CAUTION = 1.0
# The error of the strength is so many times what the slope's makes: besides it the
# choice lies `CAUTION` errors below the best guess, the curvature is no better known,
# and all of the exposure deserves not quite what its share does. It then covers the
# best strength of most scenes.
DOUBT = 2.2
# Blocks are split again until another key would move the strength by about this share.
CHANCE = 0.025
# Where single photons rule, the steepness of the wall tells nothing of that: there it
# is read from where slopes so many standard errors higher and lower would cross zero,
# two slopes of opposite signs must be no farther apart than this, and one slope alone
# does not end a descent: the curvature has to be that of the same splits.
BAND, WIDE = 2.5, 0.3
# A picture shows the risk of so many batches of blocks.
PICTURED = 2


class ChosenStrength(NamedTuple):
    """A strength and how well it is known.

    Attributes:
        alpha: The strength of least risk, in the unit of the data.
        error: Its relative standard error: by chance of the splits, by the noise of the
            data, and by what single photons make of the step to all of the exposure.
        chance: The part of that error that another key would change.
        risk: The risk at the last strength visited, as a mean over the weights: in the
            unit of the data squared, at the share of the exposure that was denoised.
        visited: The strengths that were visited on all batches.
        risks: The risk at each.
        converged: Whether the descent ended with a short step.
        at_bound: Whether the strength ended at the end of its range.
    """

    alpha: float
    error: float
    chance: float
    risk: float
    visited: Float[np.ndarray, " step"]
    risks: Float[np.ndarray, " step"]
    converged: bool
    at_bound: bool


def choose_by_draws(
    dealer: Dealer,
    *,
    weights: Weights = "variance",
    norm: Norm = "isotropic",
    key: PRNGKeyArray,
) -> ChosenStrength:
    """The strength of least risk for all frames, by as many splits as it takes.

    One batch of blocks, weighted by their variance and thus steady, tells where the
    descent on a quarter of them begins, and that where the descent on all does.

    Args:
        dealer: Frames whose blocks come in two measurements.
        weights: "uniform", or "variance" for squared errors over the variance.
        norm: "isotropic" or "anisotropic".
        key: Key of the random splits.
    """
    # the noise of the seen share is greater than that of the data, and so its strength:
    # by the root of the share, but by the share itself where single photons rule
    shift = 0.5 * np.log(dealer.fraction)
    noise = dealer.deviation(dealer.fraction)
    carried = abs(np.log(dealer.deviation() / noise) - shift)
    # where single photons rule, the strength goes by the share and not by its root
    rare = bool(carried > 0.5 * abs(shift))
    most = most_batches(dealer.blocks.number) if rare else MOST_BATCHES
    start = np.log(START * noise)
    bounds = start + np.log(RANGE)
    batches = spread_batches(dealer.share, most)
    for_first, for_all = jax.random.split(key)
    tally = SlopeTally(dealer, weights, norm, for_all)
    # other weights make another risk, whose curvature is not known yet
    steady = weights == "variance"
    first = tally if steady else SlopeTally(dealer, "variance", norm, for_first)

    descend = partial(_descend, bounds=bounds)

    def take(tally: SlopeTally, number: int) -> None:
        # as cautious as all of the blocks will be
        tally.take(batches[:number], CAUTION * (number / len(batches)) ** 0.5)

    take(first, 1)
    one = descend(first, float(start), 0.0)
    take(tally, len(batches) // QUARTER)
    quarter = descend(tally, one.end, one.curvature if steady else 0.0)
    tally.take(batches, CAUTION, again=AGAIN)
    descend = partial(_descend, bounds=bounds, rare=rare)
    fine = descend(tally, quarter.end, quarter.curvature)
    chance, error = _of_strength(tally, fine, rare=rare)
    while chance > CHANCE and tally.split_again((chance / CHANCE) ** 2, most):
        more = descend(tally, fine.visited[-1], fine.curvature)
        fine = more.after(fine)
        chance, error = _of_strength(tally, fine, rare=rare)
    return ChosenStrength(
        alpha=float(np.exp(fine.end + shift)),
        error=float(np.hypot(error, carried)),
        chance=chance,
        risk=fine.risks[-1],
        visited=np.exp(np.asarray(fine.visited) + shift),
        risks=np.asarray(fine.risks),
        converged=fine.converged,
        at_bound=bool(np.isin(np.float32(fine.end), np.float32(bounds)).any()),
    )


def risks_by_draws(
    alphas: Float[np.ndarray, " point"],
    dealer: Dealer,
    *,
    weights: Weights = "variance",
    norm: Norm = "isotropic",
    key: PRNGKeyArray,
) -> Float[np.ndarray, " point"]:
    """The risk that `choose_by_draws` descends on, at some strengths, for a picture.

    By one split of some of the blocks. Its differences are exact on average; its level
    has the noise of what is held out, and may be negative.

    Args:
        alphas: Strengths, in the unit of the data.
        dealer: Frames whose blocks come in two measurements.
        weights: "uniform" or "variance".
        norm: "isotropic" or "anisotropic".
        key: Key of the random split.
    """
    batches = spread_batches(dealer.share)[:PICTURED]
    tally = SlopeTally(dealer, weights, norm, key)
    tally.take(batches)
    shift = 0.5 * np.log(dealer.fraction)
    return np.asarray([tally.slope(np.log(alpha) - shift)[0] for alpha in alphas])


class _Descent(NamedTuple):
    visited: list[float]
    risks: list[float]
    end: float  # where the last step led
    curvature: float  # there
    slopes: list[float]
    chances: list[float]  # the standard errors of the slopes, by chance
    converged: bool

    def after(self, before: "_Descent") -> "_Descent":
        """This descent with what was visited before it."""
        return self._replace(
            visited=before.visited + self.visited,
            risks=before.risks + self.risks,
            slopes=before.slopes + self.slopes,
            chances=before.chances + self.chances,
        )


def _of_strength(
    tally: SlopeTally, descent: _Descent, *, rare: bool
) -> tuple[float, float]:
    """The error of the strength that its slope's makes: by chance, and in all."""
    chance, error = tally.errors()
    error *= DOUBT
    steep = max(descent.curvature, 0.0)
    if not steep:
        return (np.inf, np.inf) if error else (0.0, 0.0)
    chance, error = chance / steep, error / steep
    if rare:
        chance = max(chance, _width(descent) / 2 / BAND)
    return chance, error


def _descend(
    tally: SlopeTally,
    start: float,
    curvature: float,
    bounds: Float[np.ndarray, "2"],
    *,
    rare: bool = False,
) -> _Descent:
    """Descend on a risk by its slopes, with an optimizer of optax.

    Args:
        tally: Tells risk and slope at the logarithm of a strength.
        start: Where to begin.
        curvature: Curvature of the risk there; 0 if unknown.
        bounds: Least and greatest logarithm.
        rare: Whether single photons rule, and the last of the descents is this.
    """
    at = jnp.asarray(start, jnp.float32)
    state = cast(SecantState, OPTIMIZER.init(at))
    state = state._replace(curvature=jnp.full_like(at, curvature))
    visited, risks, slopes, chances, converged = [], [], [], [], False
    while len(visited) < NUM_STEPS and not converged:
        risk, slope = tally.slope(float(at))
        visited.append(float(at))
        risks.append(risk)
        slopes.append(slope)
        chances.append(tally.errors()[0])
        low, high = _bracket(visited, slopes)
        ends = np.clip([low, high], *bounds)
        moved, state = _move(slope, state, at, ends)
        short = float(state.curvature) > 0 and abs(float(moved) - float(at)) <= SHORT
        closed = np.isfinite(high - low)
        # where nothing changes with the strength, any is the best
        converged = slope == 0 or high - low <= NARROW
        near = closed or abs(slope) <= NEAR * chances[-1]
        if rare:
            near &= len(visited) > 1 and (not closed or high - low <= WIDE)
        if converged or (short and near):
            converged = True
        elif closed and (short or np.isin(moved, np.float32(ends))):
            moved = (low + high) / 2
        elif short:
            moved = np.clip(float(at) + np.copysign(PROBE, -slope), *ends)
            converged = moved == float(at)
        moved = jnp.asarray(moved, jnp.float32)
        state = state._replace(step=moved - at)
        at = moved
    curvature = float(state.curvature * jnp.exp(-FADING * state.step))
    return _Descent(visited, risks, float(at), curvature, slopes, chances, converged)


def _width(descent: _Descent) -> float:
    """How far apart slopes `BAND` standard errors higher and lower cross zero.

    In the logarithm of the strength, by the strengths that were visited.
    """
    order = np.argsort(descent.visited)
    at, slopes, chances = (
        np.asarray(z)[order] for z in (descent.visited, descent.slopes, descent.chances)
    )
    rising = np.maximum.accumulate(slopes + BAND * chances)
    falling = np.minimum.accumulate((slopes - BAND * chances)[::-1])[::-1]
    # beyond what was visited nothing is known, and the width ends there
    low, high = (float(np.interp(0, z, at)) for z in (rising, falling))
    return high - low


def _bracket(visited: list[float], slopes: list[float]) -> tuple[float, float]:
    """Where the least risk lies, by the last slope and the nearest that opposes it."""
    at, last = visited[-1], np.sign(slopes[-1])
    others = np.asarray(visited)[np.sign(slopes) == -last]
    if last > 0:
        return float(np.max(others[others < at], initial=-np.inf)), at
    return at, float(np.min(others[others > at], initial=np.inf))


@jax.jit
def _move(
    slope: float | Float[Array, ""],
    state: SecantState,
    at: Float[Array, ""],
    ends: Float[np.ndarray, "2"] | Float[Array, "2"],
) -> tuple[Float[Array, ""], SecantState]:
    """One step of the descent, between two ends."""
    slope, ends = (jnp.asarray(z, at.dtype) for z in (slope, ends))
    update, after = OPTIMIZER.update(slope, state, at)
    moved = cast(Array, optax.apply_updates(at, update))
    return jnp.clip(moved, ends[0], ends[1]), cast(SecantState, after)
