"""Pairs of noisy images of one truth, from a pattern's symmetry.

The pixels of the detector are divided in two by the angle around the beam centre, and
each part alone makes an image by the symmetry: the sum over those members of a pixel's
orbit that lie in the part, and how many they are. Since no pixel of the detector is in
both parts, the noise of the two images is independent everywhere, also at the centre
and where the partners have to be interpolated.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from tvjax.symmetry import Group, orbit_mean
from tvjax.symmetry.groups import as_group

# The plane is divided into so many sectors at most, for groups of more operations.
MOST_SECTORS = 12

# The target gives this share of its counts to the input at least, and keeps as much.
LEAST_SHARE = 0.1

# A crop should know the target of this share of its pixels.
LEAST_KNOWN = 0.1

# A crop is drawn at most so often to reach that share.
DRAWS = 8

# A frame gives one crop to a batch for each so many times the pixels of a crop.
SHARED = 8


class Summed(NamedTuple):
    """Counts and their exposure, both zero where nothing is known.

    Attributes:
        counts: Sums of counts.
        exposure: Number of exposures that were summed; shares of one count as such.
    """

    counts: Float[Array, "*shape"]
    exposure: Float[Array, "*shape"]

    def plus(self, other: "Summed") -> "Summed":
        """All counts and exposures of both."""
        return Summed(self.counts + other.counts, self.exposure + other.exposure)


class TrainingPair(NamedTuple):
    """Two noisy images of one truth, with independent noise."""

    input: Summed
    target: Summed


class TrainingSeries(NamedTuple):
    """Frames of counts that share symmetry, beam centre and mask; made by `of`.

    Attributes:
        frames: Counts, zero where a pixel is invalid.
        group: Point group of the patterns.
        centre: Beam centre (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid.
        whole: Whether all counts are whole numbers, so that they can be thinned.
    """

    frames: Float[np.ndarray, "frame height width"]
    group: Group
    centre: tuple[float, float]
    mask: Bool[np.ndarray, "height width"]
    whole: bool

    @classmethod
    def of(
        cls,
        frames: Sequence[Num[np.ndarray, "height width"]]
        | Num[np.ndarray, "frame height width"],
        *,
        group: Group | str,
        centre: tuple[float, float],
        mask: Bool[ArrayLike, "height width"] | None = None,
    ) -> "TrainingSeries":
        """Check a series to train on.

        Args:
            frames: Counts of each frame (height, width), as they were measured: not
                subtracted from, not scaled.
            group: A group from `tvjax.symmetry.find_group`, or its name.
            centre: Beam centre (y, x) in pixels; the first pixel's centre is 0.
            mask: True where a pixel is valid: from the detector, never from the counts.

        Raises:
            ValueError: There are fewer than two frames, frames have different shapes,
                the mask has another shape or no valid pixel, valid pixels hold no
                counts, or the group is unknown.
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
        stack = np.asarray(frames)
        valid = np.ones(shapes[0], bool) if mask is None else np.asarray(mask, bool)
        if valid.shape != shapes[0] or not valid.any():
            raise ValueError(
                f"`mask` must be of the frames' shape, {shapes[0]}, with a valid "
                f"pixel, got {valid.shape} with {valid.sum()}."
            )
        counts = stack[:, valid]
        if not (np.isfinite(counts).all() and counts.min() >= 0):
            raise ValueError(
                "`frames` must hold counts, finite and not negative, in every valid "
                f"pixel, got a least value of {counts.min()}: mask the others."
            )
        whole = bool(np.all(counts == np.round(counts)))
        kept = np.where(valid, stack, 0).astype(np.float32)
        row, column = map(float, centre)
        return cls(kept, as_group(group), (row, column), valid, whole)

    @property
    def digest(self) -> str:
        """SHA-256 of all that belongs to the series."""
        told = (self.group.name, self.centre, self.frames.shape)
        digest = hashlib.sha256(repr(told).encode())
        digest.update(np.ascontiguousarray(self.frames).tobytes())
        digest.update(np.packbits(self.mask).tobytes())
        return digest.hexdigest()

    def draw_pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """Make a pair of a frame: a random part of all orbits, and the rest.

        Keeping each count with one probability leaves Poisson counts of that share of
        the exposure, independent of those that were not kept. So the input is given
        some of the target's counts, because the network will see all of them in use.

        Args:
            index: Number of the frame.
            rng: Generator that decides the parts and the counts given.
        """
        angle = _angles(self.mask.shape, self.centre)
        num = int(min(self.group.order, MOST_SECTORS))
        sector = np.floor((angle + rng.uniform()) * num).astype(int) % num
        chosen = rng.permutation(num)[: rng.integers(1, num)]
        here = np.isin(sector, chosen)
        frame = self.frames[index]
        own = self._sum(frame, here)
        if not self.whole:  # Only whole counts can be given one by one.
            return TrainingPair(own, self._sum(frame, ~here))
        share = float(rng.uniform(LEAST_SHARE, 1 - LEAST_SHARE))
        thin = rng.binomial(frame.astype(int), share).astype(np.float32)
        given = self._sum(thin, ~here, share)
        return TrainingPair(own.plus(given), self._sum(frame - thin, ~here, 1 - share))

    def _sum(
        self,
        frame: Float[np.ndarray, "height width"],
        part: Bool[np.ndarray, "height width"],
        share: float = 1.0,
    ) -> Summed:
        """Sum a part of the detector, with a share of its counts, over the orbits."""
        mask = jnp.asarray(self.mask & part)
        summed = sum_orbits(jnp.asarray(frame), self.group, self.centre, mask)
        return summed._replace(exposure=share * summed.exposure)


@eqx.filter_jit
def sum_orbits(
    y: Float[Array, "height width"],
    group: Group,
    centre: tuple[float, float],
    mask: Bool[Array, "height width"],
) -> Summed:
    """Sum the counts over each pixel's orbit, and count its valid members."""
    orbit = orbit_mean(y, group=group, centre=centre, mask=mask)
    return Summed(orbit.mean * orbit.num_members, orbit.num_members)


def draw_batch(
    series: Sequence[TrainingSeries],
    frames: Sequence[tuple[int, int]],
    batch: int,
    side: int,
    rng: np.random.Generator,
) -> TrainingPair:
    """Crops of pairs of random frames, turned and flipped at random.

    Args:
        series: Series to draw from.
        frames: Frames to draw from: numbers of a series and of a frame in it.
        batch: Number of crops.
        side: Side of a crop in pixels.
        rng: Generator that decides everything.
    """
    chosen, crops = rng.integers(len(frames), size=batch), []
    for which, frame in (frames[i] for i in chosen):
        if len(crops) < batch:
            pair = series[which].draw_pair(frame, rng)
            # Dividing a large frame costs more than a step on one crop of it.
            num = max(1, pair.target.counts.size // (SHARED * side**2))
            crops += [_crop(pair, side, rng) for _ in range(num)]
    stacks = zip(*crops[:batch], strict=True)
    a, n_a, b, n_b = (jnp.asarray(np.stack(images)) for images in stacks)
    return TrainingPair(Summed(a, n_a), Summed(b, n_b))


def _crop(
    pair: TrainingPair, side: int, rng: np.random.Generator
) -> list[Float[np.ndarray, "side side"]]:
    """The four images of a square with something to learn, if one is found soon."""
    known = np.asarray(pair.target.exposure) > 0

    def draw_window() -> tuple[slice, ...]:
        corner = [
            int(rng.integers(max(length - side, 0) + 1)) for length in known.shape
        ]
        return tuple(slice(start, start + side) for start in corner)

    window, draws = draw_window(), 1
    while draws < DRAWS and np.mean(known[window]) < LEAST_KNOWN:
        window, draws = draw_window(), draws + 1
    turns, flip = int(rng.integers(4)), int(rng.integers(2))

    def cut(image: Float[Array, "height width"]) -> Float[np.ndarray, "side side"]:
        # There is no exposure outside a small image.
        missing = [(0, max(side - length, 0)) for length in known.shape]
        square = np.rot90(np.pad(np.asarray(image)[window], missing), turns)
        return np.flip(square, 0) if flip else square

    return [cut(image) for image in jax.tree.leaves(pair)]


def _angles(
    shape: tuple[int, ...], centre: tuple[float, float]
) -> Float[np.ndarray, "height width"]:
    """Angle of each pixel around the centre, as a share of the whole turn."""
    y, x = np.indices(shape)
    return np.arctan2(y - centre[0], x - centre[1]) / (2 * np.pi) + 0.5
