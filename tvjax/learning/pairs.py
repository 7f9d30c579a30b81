"""Where do pairs of noisy images of one truth come from? From a pattern's symmetry.

The pixels of the detector are parted in two by the angle around the beam centre, and
each part alone makes an image by the symmetry: the sum over those members of a pixel's
orbit that lie in the part, and how many they are. Since no pixel of the detector is in
both parts, the noise of the two images is independent, everywhere: at the centre as
well, and if the partners have to be interpolated.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Self

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.symmetry import find_group, orbit_mean

# Sectors that the plane is parted into at most, for groups of more operations.
MOST_SECTORS = 12

# Of its counts, that the target gives to the input at least, and keeps at least.
LEAST_SHARE = 0.1

# A crop should know the target of so many of its pixels, and is drawn so often for it.
LEAST_KNOWN, DRAWS = 0.1, 8

# One frame gives one crop to a batch for so many times the crop's pixels.
SHARED = 8


class Summed(NamedTuple):
    """Counts, and how many exposures they are of; zero where nothing is known."""

    counts: Float[Array, "*shape"]
    exposure: Float[Array, "*shape"]

    def plus(self, other: Self) -> "Summed":
        """All counts and exposures of both."""
        return Summed(self.counts + other.counts, self.exposure + other.exposure)


class Pair(NamedTuple):
    """Two noisy images of one truth, with independent noise."""

    input: Summed
    target: Summed


class Series(NamedTuple):
    """Frames of counts that share symmetry, beam centre and mask; see `Series.of`."""

    frames: Float[np.ndarray, "frame height width"]
    group: str
    centre: tuple[float, float]
    mask: Bool[np.ndarray, "height width"]
    whole: bool  # are all counts whole numbers, so that they can be thinned?

    @classmethod
    def of(
        cls,
        frames: Sequence[Float[np.ndarray, "height width"]]
        | Float[np.ndarray, "frame height width"],
        group: str,
        centre: tuple[float, float],
        mask: Bool[np.ndarray, "height width"] | None = None,
    ) -> Self:
        """Check a series to train on.

        Args:
            frames: Counts, as they were measured: not subtracted from, not scaled.
            group: A name that `tvjax.symmetry.find_group` knows.
            centre: Of the beam, (y, x) in pixels; the first pixel's centre is 0.
            mask: True where a pixel is valid: from the detector, never from the counts.

        Raises:
            ValueError: Fewer than two frames, frames of different shapes, a mask of
                another shape or without a valid pixel, valid pixels that hold no
                counts, no such group.
        """
        shapes = sorted({np.shape(frame) for frame in frames})
        if len(shapes) > 1 or (shapes and len(shapes[0]) != 2):
            raise ValueError(
                "`frames` must be images of one shape, (height, width), got shapes "
                f"{', '.join(map(str, shapes))}: train on each shape as a series."
            )
        if len(frames) < 2:
            raise ValueError(
                "`frames` must be two at least, since one is held out to tell when to "
                f"stop, got {len(frames)}; use `predict` with trained weights."
            )
        frames = np.asarray(frames)
        valid = np.ones(shapes[0], bool) if mask is None else np.asarray(mask, bool)
        if valid.shape != shapes[0] or not valid.any():
            raise ValueError(
                f"`mask` must be of the frames' shape, {shapes[0]}, with a valid "
                f"pixel, got {valid.shape} with {valid.sum()}."
            )
        find_group(group)  # a name that it knows
        counts = frames[:, valid]
        if not (np.isfinite(counts).all() and counts.min() >= 0):
            raise ValueError(
                "`frames` must hold counts, finite and not negative, in every valid "
                f"pixel, got a least value of {counts.min()}: mask the others."
            )
        whole = bool(np.all(counts == np.round(counts)))
        kept = np.where(valid, frames, 0).astype(np.float32)
        return cls(kept, group, (float(centre[0]), float(centre[1])), valid, whole)

    @property
    def digest(self) -> str:
        """SHA-256 of everything."""
        told = (self.group, self.centre, self.frames.shape)
        digest = hashlib.sha256(repr(told).encode())
        digest.update(np.ascontiguousarray(self.frames).tobytes())
        digest.update(np.packbits(self.mask).tobytes())
        return digest.hexdigest()

    def part(self, index: int, rng: np.random.Generator) -> Pair:
        """Make a pair of a frame: a random part of all orbits, and the rest.

        Keeping each count with one probability leaves Poisson counts of that share of
        the exposure, independent of those that were not kept. So the input is given
        some of the target's counts: when the network is used, it will see them all.
        """
        angle = _angles(self.mask.shape, self.centre)
        num = int(min(find_group(self.group).order, MOST_SECTORS))
        sector = np.floor((angle + rng.uniform()) * num).astype(int) % num
        chosen = rng.permutation(num)[: rng.integers(1, num)]
        here = np.isin(sector, chosen)
        frame = self.frames[index]
        own = self._sum(frame, here)
        if not self.whole:  # then they cannot be dealt out
            return Pair(own, self._sum(frame, ~here))
        share = float(rng.uniform(LEAST_SHARE, 1 - LEAST_SHARE))
        thin = rng.binomial(frame.astype(int), share).astype(np.float32)
        given = self._sum(thin, ~here, share)
        return Pair(own.plus(given), self._sum(frame - thin, ~here, 1 - share))

    def _sum(
        self,
        frame: Float[np.ndarray, "height width"],
        part: Bool[np.ndarray, "height width"],
        share: float = 1.0,
    ) -> Summed:
        """Over the orbits, of a part of the detector with that share of the counts."""
        summed = sum_orbits(frame, self.group, self.centre, self.mask & part)
        return summed._replace(exposure=share * summed.exposure)


@eqx.filter_jit
def sum_orbits(
    y: Float[Array, "height width"],
    group: str,
    centre: tuple[float, float],
    mask: Bool[Array, "height width"],
) -> Summed:
    """Counts over each pixel's orbit, and of how many valid members."""
    orbit = orbit_mean(jnp.asarray(y), group, centre, jnp.asarray(mask))
    return Summed(orbit.mean * orbit.count, orbit.count)


def draw_batch(
    series: Sequence[Series],
    frames: Sequence[tuple[int, int]],
    batch: int,
    side: int,
    rng: np.random.Generator,
) -> Pair:
    """Crops of pairs of random frames, turned and flipped at random.

    Args:
        series: To draw from.
        frames: Which may be drawn: numbers of a series and of a frame in it.
        batch: So many crops.
        side: Of each, in pixels.
        rng: Decides everything.
    """
    chosen, crops = rng.integers(len(frames), size=batch), []
    for which, frame in (frames[i] for i in chosen):
        if len(crops) < batch:
            pair = jax.tree.map(np.asarray, series[which].part(frame, rng))
            # Parting a large frame costs more than to learn from one crop of it.
            num = max(1, pair.target.counts.size // (SHARED * side**2))
            crops += [_crop(pair, side, rng) for _ in range(num)]
    return jax.tree.map(lambda *images: np.stack(images), *crops[:batch])


def _crop(pair: Pair, side: int, rng: np.random.Generator) -> Pair:
    """A square with something to learn in it, if one is found soon."""
    shape = pair.target.exposure.shape
    for _ in range(DRAWS):
        corner = [rng.integers(max(length - side, 0) + 1) for length in shape]
        window = tuple(slice(start, start + side) for start in corner)
        if np.mean(pair.target.exposure[window] > 0) >= LEAST_KNOWN:
            break
    turns, flip = rng.integers(4), rng.integers(2)

    def cut(image: np.ndarray) -> np.ndarray:
        # What is beyond a small image has no exposure.
        missing = [(0, max(side - length, 0)) for length in shape]
        square = np.rot90(np.pad(image[window], missing), turns)
        return np.flip(square, 0) if flip else square

    return jax.tree.map(cut, pair)


def _angles(
    shape: tuple[int, ...], centre: tuple[float, float]
) -> Float[np.ndarray, "height width"]:
    """Of each pixel around the centre, as a share of the whole turn."""
    y, x = np.indices(shape)
    return np.arctan2(y - centre[0], x - centre[1]) / (2 * np.pi) + 0.5
