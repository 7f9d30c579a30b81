"""A strength chosen by many random splits of the data, with an error bar.

One split deals the data out to a part that is denoised and a part that judges
(`tvjax.risk.splitting`). Its risk R has a slope g = dR/d log α whose chance comes from
a few blocks of the frames: those that hold spots. So blocks spread over the frames are
split, and those that rule the error are split again:

    ḡ = Σ_b mean_k g_bk,    var ḡ = Σ_b s_b² (1/K_b + (1 − p)/p) + (1 − f) n var_b ḡ_b,

where block b of n was split K_b times, s_b is the deviation of its slopes from each
other, p the share that is denoised, and f the share of all blocks that were taken. The
second term is the noise of the data themselves, which no further split lowers. The
descent's Newton step turns it into the relative error of the strength, √(var ḡ)/R″.
"""

from collections.abc import Callable
from typing import cast, NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from tvjax.denoisers import TV
from tvjax.noise import Noise
from tvjax.operators import Norm
from tvjax.risk.splitting import are_whole_counts, deal, expected_variance
from tvjax.solvers import Accuracy
from tvjax.tuning.blocks import BlockGrid
from tvjax.tuning.descent import secant, SecantState
from tvjax.tuning.weights import inverse_variance, Weights

# The descent begins at this multiple of the noise's deviation, where the strength of
# most images is; the deviation counts as no less than this share of a photon, because
# where photons are rare each must be flattened on its own.
START, PHOTON = 0.8, 0.75
# Data without any noise are denoised as if they had so little.
LEAST_NOISE = 1e-18
# The strength stays within these multiples of its start: beyond lie no denoising, and
# no image.
RANGE = (1e-3, 1e3)
# Share of the exposure that is denoised. With less, more is left to judge by and chance
# is smaller, but the strength has to be carried further to that for all of the
# exposure: by the root of the share, as the noise.
SEEN = 0.8
# Relative duality gap of the solves, and accuracy of their derivatives: what is left of
# them moves the strength by less than the chance of the splits does.
GAP = 1e-3
TANGENT = Accuracy(tol=0.05, max_steps=500, strict=False)
# BlockGrid that are split at a time.
BATCH = 8
# Batches of blocks that stand for the frames: all of them between these limits, each
# block several times where there are few, evenly spread ones where there are many.
LEAST_BATCHES, MOST_BATCHES = 4, 32
# Batches of blocks that are split once more, those where that lowers the error most.
AGAIN = 2
# The descent on one batch ends when a step is shorter than the first, that on all of
# them when one is shorter than the second, or after so many steps.
ROUGH, FINE = 0.1, 0.04
ROUGH_STEPS, FINE_STEPS = 12, 5
# Where the risk is flat, chance would choose: of strengths that the data cannot tell
# from the best by so many standard errors of the slope, the weakest is taken, which
# keeps most of what is weak (the one-standard-error rule of Breiman, Friedman, Olshen,
# Stone 1984). With more data it becomes the best.
CAUTION = 2.0
# The deviation of the slopes is at first taken for this multiple of what the held-out
# noise alone makes; it counts as so many splits.
GUESS, GUESS_WEIGHT = 1.5, 2.0


class ChosenStrength(NamedTuple):
    """A strength and how well it is known.

    Attributes:
        alpha: The strength of least risk, in the unit of the data.
        error: Its relative standard error.
        chance: The part of that error that another key would change.
        risk: The risk at the last strength visited, as a mean over the weights: in the
            unit of the data squared, at the share `SEEN` of the exposure.
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


class _Sheet(eqx.Module):
    """Images in two measurements, and what each pixel counts."""

    seen: Float[Array, "image height width"]
    held_out: Float[Array, "image height width"]
    variance: Float[Array, "image height width"]
    mask: Bool[Array, "image height width"]
    weights: Float[Array, "image height width"]


class _Slopes(NamedTuple):
    """What the pixels of a sheet say, summed over blocks or windows."""

    risk: Float[np.ndarray, " block"]
    slope: Float[np.ndarray, " block"]  # in the logarithm of the strength
    variance: Float[np.ndarray, " block"]  # of the slope, by the held-out noise
    weight: Float[np.ndarray, " block"]


class _Data:
    """Frames that can be dealt out in windows around some blocks."""

    def __init__(
        self,
        frames: Float[Array, "frame height width"],
        noise: Noise,
        mask: Bool[Array, "frame height width"] | None,
        norm: Norm,
    ) -> None:
        valid = jnp.ones(frames.shape, bool) if mask is None else mask
        self.frames = jnp.where(valid, frames, 0)
        self.mask = valid
        self.noise = noise
        self.norm: Norm = norm
        self.blocks = BlockGrid(cast(tuple[int, int, int], frames.shape))
        self.whole_counts = are_whole_counts(self.frames, noise, mask)
        self.share = np.asarray(self.blocks.sums(valid.astype(frames.dtype)), float)

    def spread(self) -> Int[np.ndarray, "batch block"]:
        """Batches of blocks evenly spread over the frames, each batch as well."""
        filled = np.flatnonzero(self.share > self.share.max() / 2)
        number = BATCH * int(
            np.clip(-(-len(filled) // BATCH), LEAST_BATCHES, MOST_BATCHES)
        )
        if len(filled) <= number:
            return np.resize(filled, number).reshape(BATCH, -1).T
        spread = filled[np.linspace(0, len(filled) - 1, number).astype(int)]
        return spread.reshape(BATCH, -1).T

    def deal(
        self, chosen: Int[np.ndarray, " block"], weights: Weights, key: PRNGKeyArray
    ) -> _Sheet:
        """BlockGrid with their margins, in two; only the blocks count."""
        y, mask = (self.blocks.cut(z, chosen) for z in (self.frames, self.mask))
        shape = self.frames.shape
        noise = jax.tree.map(
            lambda p: (
                self.blocks.cut(jnp.broadcast_to(p, shape), chosen)
                if _is_map(p, shape)
                else p
            ),
            self.noise,
        )
        split = deal(
            y,
            noise,
            key=key,
            mask=mask,
            fraction=SEEN,
            whole_counts=self.whole_counts,
        )
        counted = (mask & jnp.asarray(self.blocks.judged(chosen))).astype(y.dtype)
        if weights == "variance":
            counted = counted * inverse_variance(split.seen, noise, mask)
        return _Sheet(split.seen, split.held_out, split.variance, mask, counted)

    def deviation(self) -> float:
        """The deviation of the noise, as weights by the variance see it."""
        variance = expected_variance(self.frames, self.noise, self.mask)
        positive = self.mask & (variance > 0)
        inverse = jnp.where(positive, 1 / jnp.where(positive, variance, 1), 0)
        number = float(jnp.sum(positive))
        return (number / max(float(jnp.sum(inverse)), 1e-30)) ** 0.5


def _is_map(parameter: Array, shape: tuple[int, ...]) -> bool:
    """Whether a noise parameter has a level of each pixel's or each frame's own."""
    return jnp.ndim(parameter) > 1 and jnp.shape(parameter)[-2:] in (shape[1:], (1, 1))


def choose_by_draws(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    *,
    mask: Bool[Array, "frame height width"] | None = None,
    weights: Weights = "variance",
    norm: Norm = "isotropic",
    key: PRNGKeyArray,
) -> ChosenStrength:
    """The strength of least risk for all frames, by as many splits as it takes.

    One batch of blocks, weighted by their variance and thus steady, tells where the
    descent on all of them begins.

    Args:
        frames: Noisy data.
        noise: Noise model of all frames.
        mask: True where a pixel is valid.
        weights: "uniform", or "variance" for squared errors over the variance.
        norm: "isotropic" or "anisotropic".
        key: Key of the random splits.
    """
    data = _Data(frames, noise, mask, norm)
    # the noise of the seen share is greater than that of the data, and so its strength
    shift = 0.5 * np.log(SEEN)
    photon = PHOTON * float(np.mean(getattr(noise, "gain", 0.0)))
    noisy = max(np.hypot(data.deviation(), photon), LEAST_NOISE)
    start = np.log(START * noisy) - shift
    bounds = start + np.log(RANGE)
    batches = data.spread()
    once, key = jax.random.split(key)
    rough = _descend(
        _Tally(data, "variance", batches[:1], once).slope,
        start,
        bounds,
        secant(first_step=0.2, max_step=0.7),
        ROUGH,
        ROUGH_STEPS,
    )
    begin = float(np.clip(rough.visited[-1] + rough.step, *bounds))
    tally = _Tally(data, weights, batches, key, again=AGAIN)
    optimizer = secant(first_step=0.15, max_step=0.4)
    fine = _descend(tally.slope, begin, bounds, optimizer, FINE, FINE_STEPS)
    final = float(np.clip(fine.visited[-1] + fine.step, *bounds))
    chance, error = tally.errors()
    # the choice lies CAUTION standard errors below the best guess, as a rule
    steep = fine.curvature if fine.curvature > 0 else 0.0
    chance, error = (
        0.0 if not z else z / steep if steep else np.inf
        for z in (chance, np.hypot(1, CAUTION) * error)
    )
    return ChosenStrength(
        alpha=float(np.exp(final + shift)),
        error=error,
        chance=chance,
        risk=fine.risks[-1],
        visited=np.exp(np.asarray(fine.visited) + shift),
        risks=np.asarray(fine.risks),
        converged=fine.converged,
        at_bound=bool(np.isin(np.float32(final), np.float32(bounds)).any()),
    )


def noise_of_frame(noise: Noise, frame: int, shape: tuple[int, ...]) -> Noise:
    """The noise model of one of several frames, where they have levels of their own."""

    def part(parameter: Array) -> Array:
        own = _is_map(parameter, shape) and jnp.shape(parameter)[0] == shape[0]
        return parameter[frame][None] if own and jnp.ndim(parameter) == 3 else parameter

    return jax.tree.map(part, noise)


class _Descent(NamedTuple):
    visited: list[float]
    risks: list[float]
    step: float
    curvature: float
    converged: bool


def _descend(
    evaluate: Callable[[float], tuple[float, float]],
    start: float,
    bounds: Float[np.ndarray, "2"],
    optimizer: optax.GradientTransformation,
    tol: float,
    num_steps: int,
) -> _Descent:
    """Descend on a risk by its slopes, with an optimizer of optax.

    Args:
        evaluate: Risk and slope at the logarithm of a strength.
        start: Where to begin.
        bounds: Least and greatest logarithm.
        optimizer: Moves by slopes; its state knows the curvature.
        tol: Ends with a shorter step, once the curvature is known.
        num_steps: Greatest number of steps.
    """
    at = jnp.asarray(start, jnp.float32)
    state = optimizer.init(at)
    visited, risks, converged, step = [], [], False, 0.0
    while len(visited) < num_steps and not converged:
        risk, slope = evaluate(float(at))
        visited.append(float(at))
        risks.append(risk)
        update, state = optimizer.update(jnp.asarray(slope, at.dtype), state, at)
        moved = jnp.clip(cast(Array, optax.apply_updates(at, update)), *bounds)
        step = float(moved - at)
        informed = float(cast(SecantState, state).curvature) > 0
        # where nothing changes with the strength, any is the best
        converged = slope == 0 or (informed and abs(step) <= tol)
        at = moved
    return _Descent(
        visited, risks, step, float(cast(SecantState, state).curvature), converged
    )


class _Tally:
    """The slopes of blocks by every split of them."""

    def __init__(
        self,
        data: _Data,
        weights: Weights,
        batches: Int[np.ndarray, "batch block"],
        key: PRNGKeyArray,
        *,
        again: int = 0,
    ) -> None:
        self.data, self.key = data, key
        self.weights: Weights = weights
        self.chosen = list(batches)
        self.sheets = [self._deal(i) for i in range(len(batches))]
        self.number = len(batches) + again
        self.taken = np.unique(batches)
        # what the blocks that were not taken add, as far as one can know
        self.scale = float(data.share.sum() / data.share[self.taken].sum())

    def _deal(self, index: int) -> _Sheet:
        key = jax.random.fold_in(self.key, index)
        return self.data.deal(self.chosen[index], self.weights, key)

    def slope(self, at: float) -> tuple[float, float]:
        """Risk and slope at a strength, from all splits so far.

        The slope is the greatest that the data allow, by `CAUTION` standard errors.
        """
        number = self.data.blocks.number
        self.splits = np.zeros(number)
        self.risks, self.sums, self.squares, self.least, self.weight = np.zeros(
            (5, number)
        )
        for chosen, sheet in zip(self.chosen, self.sheets, strict=True):
            self._add(chosen, _slopes(at, sheet, self.data.norm))
        while len(self.sheets) < self.number:
            self.chosen.append(self._needed())
            self.sheets.append(self._deal(len(self.sheets)))
            self._add(self.chosen[-1], _slopes(at, self.sheets[-1], self.data.norm))
        slope = self.scale * float(self._mean(self.sums).sum())
        weight = float(self._mean(self.weight).sum())
        risk = float(self._mean(self.risks).sum()) / weight if weight else 0.0
        return risk, slope + CAUTION * self.errors()[1]

    def errors(self) -> tuple[float, float]:
        """The standard error of the slope: by chance of the splits, and in all."""
        taken = self.taken
        variance = self._variance()[taken]
        chance = np.sum(variance / self.splits[taken])
        own = (1 - SEEN) / SEEN * np.sum(variance)
        left = len(taken) * (1 - 1 / self.scale) * np.var(self._mean(self.sums)[taken])
        in_all = np.sqrt(chance + own + left)
        return self.scale * float(np.sqrt(chance)), self.scale * float(in_all)

    def _mean(self, sums: Float[np.ndarray, " block"]) -> Float[np.ndarray, " block"]:
        return sums / np.maximum(self.splits, 1)

    def _add(self, chosen: Int[np.ndarray, " block"], found: _Slopes) -> None:
        for block, risk, slope, least, weight in zip(chosen, *found, strict=True):
            before = self.splits[block]
            if before:
                off = slope - self.sums[block] / before
                self.squares[block] += off**2 * before / (before + 1)
            self.splits[block] += 1
            self.risks[block] += risk
            self.sums[block] += slope
            self.least[block] += least
            self.weight[block] += weight

    def _variance(self) -> Float[np.ndarray, " block"]:
        """The variance of the slope of each block from one split to another."""
        least = self._mean(self.least)
        typical = BATCH * np.mean(least[self.taken])
        freedom = np.maximum(self.splits - 1, 0)
        ratio = (np.sum(self.squares) + GUESS * typical) / max(
            np.sum(freedom * least) + typical, 1e-300
        )
        return (GUESS_WEIGHT * ratio * least + self.squares) / (GUESS_WEIGHT + freedom)

    def _needed(self) -> Int[np.ndarray, " block"]:
        """The blocks whose further splits lower the error most."""
        variance, splits = self._variance(), np.maximum(self.splits, 1)
        chosen = []
        for _ in range(BATCH):
            block = int(np.argmax(variance / (splits * (splits + 1))))
            splits[block] += 1
            chosen.append(block)
        return np.asarray(chosen)


def _slopes(at: float, sheet: _Sheet, norm: Norm) -> _Slopes:
    """Risk, slope and its variance of each window."""
    sums = _of_windows(jnp.float32(at), sheet, norm)
    return _Slopes(*(np.asarray(z, float) for z in sums))


@eqx.filter_jit
def _of_windows(
    at: Float[Array, ""], sheet: _Sheet, norm: Norm
) -> list[Float[Array, " window"]]:
    """Σ w ((f − y₂)² − v), its derivative in log α, the variance of that, and Σ w."""
    mask, y = _as_one(sheet.mask), _as_one(sheet.seen)

    def image(at: Float[Array, ""]) -> Array:
        return TV(jnp.exp(at), mask=mask, tol=GAP, norm=norm, tangent=TANGENT)(y)

    f, moved = jax.jvp(image, (at,), (jnp.ones_like(at),))
    f, moved = (_apart(z, sheet.seen.shape) for z in (f, moved))
    w, off = sheet.weights, f - sheet.held_out
    maps = (
        w * (off**2 - sheet.variance),
        2 * w * off * moved,
        (2 * w * moved) ** 2 * jnp.abs(sheet.variance),
        w,
    )
    return [jnp.sum(jnp.where(w > 0, z, 0), (1, 2)) for z in maps]


def _as_one(z: Array) -> Array:
    """All images in one, below each other, apart by an invalid row of zeros.

    One image has one certificate, for the sum that the risk is, and no kernel waits
    for the slowest of many.
    """
    return jnp.pad(z, ((0, 0), (0, 1), (0, 0))).reshape(-1, z.shape[2])


def _apart(z: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `_as_one`."""
    return z.reshape(shape[0], shape[1] + 1, shape[2])[:, :-1]
