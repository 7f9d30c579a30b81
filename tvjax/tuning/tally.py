"""The slope of a risk in the strength, by many splits of blocks, and its error.

Chance comes from a few blocks of the frames: those that hold spots. So blocks spread
over the frames are split, and those that rule the error are split again:

    ḡ = Σ_b mean_k g_bk,    var ḡ = Σ_b s_b² (1/K_b + (1 − p)/p) + (1 − f) n var_b ḡ_b,

where block b of n was split K_b times, s_b is the deviation of its slopes from each
other, p the share that is denoised, and f the share of all blocks that were taken. The
second term is the noise of the data themselves, which no further split lowers.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Float, Int, PRNGKeyArray

from tvjax.operators import Norm
from tvjax.solvers import Accuracy, solve
from tvjax.tuning.dealing import Dealer, Sheet
from tvjax.tuning.weights import Weights

# Relative duality gap of the solves, and accuracy of their derivatives: what is left of
# them moves the strength by less than the chance of the splits does.
GAP = 1e-3
TANGENT = Accuracy(tol=0.01, max_steps=1000, strict=False)
# Blocks that are split at a time.
BATCH = 8
# Batches of blocks that stand for the frames: all of them between these limits, each
# block several times where there are few, evenly spread ones where there are many.
# Where photons are rare, a block tells less, and there may be more of them.
LEAST_BATCHES, MOST_BATCHES, MOST_RARE = 8, 32, 128
# No more is to be had of a block that was split so often.
MOST_SPLITS = 64
# A block with less than this share of the pixels of the fullest is left out: a strip at
# the side of a frame, or a block in a shadow, tells little for its cost.
LEAST_SHARE = 0.1
# Batches of blocks that are split once more, those where that lowers the error most.
AGAIN = 1
# The deviation of the slopes is at first taken for this multiple of what the held-out
# noise alone makes; it counts as so many splits.
GUESS, GUESS_WEIGHT = 1.5, 2.0


def most_batches(number: int) -> int:
    """The greatest number of batches of so many blocks where photons are rare."""
    return int(np.clip(MOST_SPLITS * number // BATCH, MOST_BATCHES, MOST_RARE))


def spread_batches(
    share: Float[np.ndarray, " block"], most: int = MOST_BATCHES
) -> Int[np.ndarray, "batch taken"]:
    """Batches of blocks evenly spread over the frames, each batch as well.

    Args:
        share: Number of pixels of each block that judge.
        most: Greatest number of batches.
    """
    filled = np.flatnonzero(share > LEAST_SHARE * share.max())
    number = BATCH * int(np.clip(-(-len(filled) // BATCH), LEAST_BATCHES, most))
    if len(filled) <= number:
        return np.resize(filled, number).reshape(BATCH, -1).T
    spread = filled[np.linspace(0, len(filled) - 1, number).astype(int)]
    return spread.reshape(BATCH, -1).T


class _Slopes(NamedTuple):
    """What the pixels of a sheet say, summed over blocks."""

    risk: Float[np.ndarray, " block"]
    slope: Float[np.ndarray, " block"]  # in the logarithm of the strength
    variance: Float[np.ndarray, " block"]  # of the slope, by the held-out noise
    weight: Float[np.ndarray, " block"]


class SlopeTally:
    """The slopes of blocks by every split of them.

    Args:
        dealer: Frames whose blocks come in two measurements.
        weights: What the risk counts.
        norm: "isotropic" or "anisotropic".
        key: Key of the random splits.
    """

    def __init__(
        self, dealer: Dealer, weights: Weights, norm: Norm, key: PRNGKeyArray
    ) -> None:
        self.dealer, self.key = dealer, key
        self.weights: Weights = weights
        self.norm: Norm = norm
        self.dealt: list[tuple[Int[np.ndarray, " block"], Sheet]] = []
        self.at = math.nan

    def take(
        self,
        batches: Int[np.ndarray, "batch taken"],
        caution: float = 0.0,
        *,
        again: int = 0,
    ) -> None:
        """Take these blocks; the splits of those that were taken before stay.

        Args:
            batches: The blocks to take, those taken before at the front.
            caution: The slope is the greatest that the data allow, by so many standard
                errors.
            again: Batches that are split once more.
        """
        for batch in batches[len(self.dealt) :]:
            self._deal(batch)
        self.number = len(batches) + (again if self.dealer.random else 0)
        self.taken = np.unique(batches)
        self.caution = caution
        # what the blocks that were not taken add, as far as one can know
        share = self.dealer.share
        self.scale = float(share.sum() / share[self.taken].sum())

    def _deal(self, chosen: Int[np.ndarray, " block"]) -> None:
        key = jax.random.fold_in(self.key, len(self.dealt))
        self.dealt.append((chosen, self.dealer.deal(chosen, self.weights, key)))

    def slope(self, at: float) -> tuple[float, float]:
        """Risk and slope at the logarithm of a strength, from all splits.

        Where the last slope was at the same strength, only further splits are judged.
        """
        if at != self.at:
            self.at, self.judged = at, 0
            self.splits = np.zeros(self.dealer.blocks.number)
            self.risks, self.sums, self.squares, self.least, self.weight = np.zeros(
                (5, self.dealer.blocks.number)
            )
        while self.judged < self.number:
            if self.judged == len(self.dealt):
                self._deal(self._needed())
            chosen, sheet = self.dealt[self.judged]
            self._add(chosen, self._judge(at, sheet))
            self.judged += 1
        slope = self.scale * float(self._mean(self.sums).sum())
        weight = float(self._mean(self.weight).sum())
        risk = float(self._mean(self.risks).sum()) / weight if weight else 0.0
        return risk, slope + self.caution * self.errors()[1]

    def split_again(self, times: float, most: int = MOST_BATCHES) -> bool:
        """Have so many times as many batches, at least twice, but no more than `most`.

        Returns:
            Whether there is room for any.
        """
        number = math.ceil(min(max(times, 2) * self.number, most))
        if not self.dealer.random or number <= self.number:
            return False
        self.number = number
        return True

    def errors(self) -> tuple[float, float]:
        """The standard error of the slope: by chance of the splits, and in all."""
        taken = self.taken
        variance = self._variance()[taken]
        chance = np.sum(variance / self.splits[taken])
        own = (1 / self.dealer.fraction - 1) * np.sum(variance)
        left = len(taken) * (1 - 1 / self.scale) * np.var(self._mean(self.sums)[taken])
        in_all = np.sqrt(chance + own + left)
        return self.scale * float(np.sqrt(chance)), self.scale * float(in_all)

    def _judge(self, at: float, sheet: Sheet) -> _Slopes:
        """What each window of a sheet says at the logarithm of a strength."""
        sums = _sums(jnp.float32(at), sheet, self.norm)
        return _Slopes(*np.asarray(sums, float))

    def _mean(self, sums: Float[np.ndarray, " block"]) -> Float[np.ndarray, " block"]:
        return sums / np.maximum(self.splits, 1)

    def _add(self, chosen: Int[np.ndarray, " block"], found: _Slopes) -> None:
        """Add what one batch says."""
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


@eqx.filter_jit
def _sums(at: Float[Array, ""], sheet: Sheet, norm: Norm) -> Float[Array, "4 window"]:
    """Σ w ((f − y₂)² − v), its derivative in log α, the variance of that, and Σ w."""
    mask, y = _as_one(sheet.mask), _as_one(sheet.seen)

    # each solve begins anew: from the last strength's, the descent would lag behind
    def image(at: Float[Array, ""]) -> Array:
        alpha = jnp.exp(at)
        return solve(y, alpha, mask=mask, tol=GAP, norm=norm, tangent=TANGENT).image

    f, moved = jax.jvp(image, (at,), (jnp.ones_like(at),))
    f, moved = (_apart(z, sheet.seen.shape) for z in (f, moved))
    w, off = sheet.weights, f - sheet.held_out
    maps = (
        w * (off**2 - sheet.variance),
        2 * w * off * moved,
        (2 * w * moved) ** 2 * jnp.abs(sheet.variance),
        w,
    )
    return jnp.stack([jnp.sum(jnp.where(w > 0, z, 0), (1, 2)) for z in maps])


def _as_one(z: Array) -> Array:
    """All images in one, below each other, apart by an invalid row of zeros.

    One image has one certificate, for the sum that the risk is, and no kernel waits
    for the slowest of many.
    """
    return jnp.pad(z, ((0, 0), (0, 1), (0, 0))).reshape(-1, z.shape[2])


def _apart(z: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `_as_one`."""
    return z.reshape(shape[0], shape[1] + 1, shape[2])[:, :-1]
