"""Windows of frames in two independent measurements: to denoise and to judge by."""

from functools import cached_property
from typing import cast, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from tvjax.noise import Noise
from tvjax.risk.splitting import are_whole_counts, deal, expected_variance, Split
from tvjax.tuning.blocks import BlockGrid
from tvjax.tuning.weights import inverse_variance, Weights

# Share of the exposure that is denoised. With less, more is left to judge by and chance
# is smaller, but the strength has to be carried further to that for all of the
# exposure: by the root of the share, as the noise.
SEEN = 0.8
# The deviation of the noise counts as no less than this share of a photon, because
# where photons are rare each must be flattened on its own.
PHOTON = 0.75
# Data without any noise are denoised as if they had so little.
LEAST_NOISE = 1e-18


class Sheet(eqx.Module):
    """Images in two measurements, and what each pixel counts."""

    seen: Float[Array, "image height width"]
    held_out: Float[Array, "image height width"]
    variance: Float[Array, "image height width"]  # of the noise in `held_out`
    mask: Bool[Array, "image height width"]
    weights: Float[Array, "image height width"]


@runtime_checkable
class Dealer(Protocol):
    """Frames whose blocks come in two measurements.

    Attributes:
        blocks: The grid of blocks.
        share: Number of pixels of each block that judge.
        fraction: Share of the exposure that is denoised.
        random: Whether another key deals out another pair.
    """

    blocks: BlockGrid
    share: Float[np.ndarray, " block"]
    fraction: float
    random: bool

    def deal(
        self, chosen: Int[np.ndarray, " block"], weights: Weights, key: PRNGKeyArray
    ) -> Sheet:
        """Some blocks with their margins, in two; only the blocks count."""
        ...

    def deviation(self, share: float = 1.0) -> float:
        """The deviation of the noise, as weights by the variance see it.

        Args:
            share: Share of the exposure.
        """
        ...


class _Frames:
    """Frames, the pixels that judge, and the noise of all."""

    def __init__(
        self,
        frames: Float[Array, "frame height width"],
        noise: Noise,
        mask: Bool[Array, "frame height width"] | None,
        judges: Bool[Array, "frame height width"] | None,
    ) -> None:
        self.mask = jnp.ones(frames.shape, bool) if mask is None else mask
        self.judges = self.mask if judges is None else self.mask & judges
        self.frames = jnp.where(self.mask, frames, 0)
        self.noise = noise
        self.blocks = BlockGrid(cast(tuple[int, int, int], frames.shape))
        judged = self.judges.astype(frames.dtype)
        self.share = np.asarray(self.blocks.sums(judged), float)

    def deviation(self, share: float = 1.0) -> float:
        """The deviation of the noise, as weights by the variance see it.

        Args:
            share: Share of the exposure.
        """
        photon = PHOTON * float(np.mean(getattr(self.noise, "gain", 0.0)))
        # what is seen of fewer photons is divided by the share
        noise = np.hypot(self._deviation / share**0.5, photon / share)
        return max(float(noise), LEAST_NOISE)

    @cached_property
    def _deviation(self) -> float:
        """The root of the harmonic mean of the variance where pixels judge."""
        variance = np.asarray(expected_variance(self.frames, self.noise, self.mask))
        variance = np.broadcast_to(variance, self.frames.shape)
        positive = np.asarray(self.judges) & (variance > 0)
        inverse = np.sum(1 / np.where(positive, variance, np.inf), dtype=float)
        return float((positive.sum() / max(inverse, 1e-30)) ** 0.5)

    def _noise_of(self, chosen: Int[np.ndarray, " block"]) -> Noise:
        """The noise of some windows, where it has levels of its own."""
        shape = self.frames.shape
        return jax.tree.map(
            lambda p: (
                self.blocks.cut(jnp.broadcast_to(p, shape), chosen)
                if _is_map(p, shape)
                else p
            ),
            self.noise,
        )

    def _counted(
        self,
        split: Split,
        noise: Noise,
        chosen: Int[np.ndarray, " block"],
        weights: Weights,
    ) -> Sheet:
        judges = self.blocks.cut(self.judges, chosen)
        inner = jnp.asarray(self.blocks.judged(chosen))
        return _counted(split, noise, judges, inner, weights=weights)


class SplitFrames(_Frames):
    """Frames each of which is split in two at random.

    Args:
        frames: Noisy data.
        noise: Noise model of all frames.
        mask: True where a pixel is valid.
        judges: False where a valid pixel is denoised and has no say in the strength.
    """

    fraction, random = SEEN, True

    def __init__(
        self,
        frames: Float[Array, "frame height width"],
        noise: Noise,
        mask: Bool[Array, "frame height width"] | None = None,
        judges: Bool[Array, "frame height width"] | None = None,
    ) -> None:
        super().__init__(frames, noise, mask, judges)
        self.whole_counts = are_whole_counts(self.frames, noise, mask)

    def deal(
        self, chosen: Int[np.ndarray, " block"], weights: Weights, key: PRNGKeyArray
    ) -> Sheet:
        """Some blocks with their margins, each split by the key."""
        y, mask = (self.blocks.cut(z, chosen) for z in (self.frames, self.mask))
        noise = self._noise_of(chosen)
        split = deal(
            y,
            noise,
            key=key,
            mask=mask,
            fraction=self.fraction,
            whole_counts=self.whole_counts,
        )
        return self._counted(split, noise, chosen, weights)


class RepeatedFrames(_Frames):
    """Exposures of one scene, each judged by the mean of the others.

    Their noise may be anything that is independent between them; the model sets the
    weights and where the descent begins.

    Args:
        frames: Noisy exposures, two or more.
        noise: Noise model of all frames.
        mask: True where a pixel is valid; it judges where another exposure is valid.
    """

    fraction, random = 1.0, False

    def __init__(
        self,
        frames: Float[Array, "frame height width"],
        noise: Noise,
        mask: Bool[Array, "frame height width"] | None = None,
    ) -> None:
        valid = jnp.ones(frames.shape, bool) if mask is None else mask
        number = valid.sum(0)
        super().__init__(frames, noise, mask, (number > 1) & valid)
        share = valid.astype(frames.dtype)
        others = jnp.maximum(number - share, 1)
        total = self.frames.sum(0)
        self.held_out = (total - self.frames) / others
        mean = total / jnp.maximum(number, 1)
        off = jnp.sum(share * (self.frames - mean) ** 2, 0) / jnp.maximum(number - 1, 1)
        self.variance = off / others

    def deal(
        self, chosen: Int[np.ndarray, " block"], weights: Weights, key: PRNGKeyArray
    ) -> Sheet:
        """Some blocks with their margins, and the mean of the other exposures."""
        del key
        split = Split(
            self.blocks.cut(self.frames, chosen),
            self.blocks.cut(self.held_out, chosen),
            self.blocks.cut(self.variance, chosen),
            self.blocks.cut(self.mask, chosen),
            self.fraction,
        )
        return self._counted(split, self._noise_of(chosen), chosen, weights)


@eqx.filter_jit
def _counted(
    split: Split,
    noise: Noise,
    judges: Bool[Array, "image height width"],
    inner: Bool[Array, "image height width"],
    *,
    weights: Weights,
) -> Sheet:
    """The sheet of a split, with the weights that its seen part gives."""
    counted = (judges & inner).astype(split.seen.dtype)
    if weights == "variance":
        counted = counted * inverse_variance(split.seen, noise, split.valid)
    return Sheet(split.seen, split.held_out, split.variance, split.valid, counted)


def noise_of_frame(noise: Noise, frame: int, shape: tuple[int, ...]) -> Noise:
    """The noise model of one of several frames, where they have levels of their own."""

    def part(parameter: Array) -> Array:
        own = _is_map(parameter, shape) and jnp.shape(parameter)[0] == shape[0]
        return parameter[frame][None] if own and jnp.ndim(parameter) == 3 else parameter

    return jax.tree.map(part, noise)


def _is_map(parameter: Array, shape: tuple[int, ...]) -> bool:
    """Whether a noise parameter has a level of each pixel's or each frame's own."""
    return jnp.ndim(parameter) > 1 and jnp.shape(parameter)[-2:] in (shape[1:], (1, 1))
