"""The strength on spots that stand clear, where the data ask for less.

One strength for all pixels flattens a weak spot, since total variation takes the same
number of counts from a weak spot as from a strong one. On the spots the strength is
multiplied by the factor that brings the least error against a held-out share of the
data, which has had no part in finding them.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.filters import box_sum
from tvjax.frames.spots import clear_spots, FALSE_RATE
from tvjax.noise import Noise
from tvjax.operators import Norm
from tvjax.risk.splitting import (
    are_whole_counts,
    deal,
    Split,
)
from tvjax.solvers import solve
from tvjax.tuning.tiles import cut_tiles, Places
from tvjax.tuning.weights import inverse_variance

# Multiples of the strength that are tried on the spots. Below a half, their sums gain
# little, and their pixels have much of the noise of the raw data.
FACTORS = (1.0, 0.5)
# The factor is chosen on so many squares of so many pixels a side around spots: a
# fixed number, so that one program serves any number of spots.
TILES = 128
TILE = 48
# A spot nearer than this to the side of its square is not judged there, in pixels.
MARGIN = 8
# Errors are those of sums over squares of this side, as spots are read. Pixel by pixel
# a flattened spot is the better one: it has lost its sum, but the noise, too.
SIDE = 3
# The share of the exposure that is seen. A strength for all pixels is chosen with more,
# but spots are few, and the rest has to judge them.
SEEN = 0.7
# Relative duality gap of the solves that the factor is chosen by.
GAP = 1e-3


class Protection(NamedTuple):
    """Where the strength is lower, and by how much.

    Attributes:
        factor: Multiple of the strength in each pixel.
        kept: True where it is below one.
        multiple: The multiple on clear spots; None where none was found.
    """

    factor: Float[Array, "frame height width"]
    kept: Bool[np.ndarray, "frame height width"]
    multiple: float | None


def no_protection(
    frames: Float[Array, "frame height width"], multiple: float | None = None
) -> Protection:
    """The same strength everywhere."""
    return Protection(
        jnp.ones(frames.shape, frames.dtype), np.zeros(frames.shape, bool), multiple
    )


def protect(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    mask: Bool[Array, "frame height width"] | None,
    alpha: Float[Array, "*frame"],
    *,
    multiple: float | None = None,
    norm: Norm = "isotropic",
    false_rate: float = FALSE_RATE,
    key: PRNGKeyArray,
) -> Protection:
    """Lower the strength on clear spots, by the factor of least weighted error.

        r = argmin Σ [(S (x_r − y₂))² − S var(y₂)] / var    over the spots of y₁

    with y₁, y₂ two independent shares of the data (`tvjax.risk.splitting`), x_r the
    image of y₁ at the strength r α on its spots and α elsewhere, S the sum over 3 x 3
    pixels, and var the variance around each. The factor is for all spots of all frames.
    It is one, and nothing is kept, where no smaller one lowers the error.

    Args:
        frames: Noisy data, in their own unit.
        noise: Noise model of all frames.
        mask: True where a pixel is valid.
        alpha: The strength elsewhere, in the unit of the data; a scalar or one a frame.
        multiple: The factor, from 0 to 1; by default chosen.
        norm: "isotropic" or "anisotropic".
        false_rate: Greatest expected number of false spots, divided by that of the
            pixels.
        key: Key of the random split.

    Raises:
        ValueError: The rate, or the multiple, is not between 0 and 1.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np, tvjax
        >>> counts = np.random.default_rng(0).poisson(0.1, (1, 64, 64)).astype(float)
        >>> counts[0, 30:33, 40:43] += 3
        >>> frames, key = jnp.asarray(counts, float), jax.random.key(0)
        >>> found = protect(frames, tvjax.Poisson(), None, jnp.asarray(1.0), key=key)
        >>> bool(found.kept[0, 31, 41]), float(found.factor[0, 0, 0])
        (True, 1.0)
    """
    if multiple is not None and not 0 <= multiple <= 1:
        raise ValueError(
            "the multiple of the strength on spots must be between 0 and 1, got "
            f"{multiple:g}."
        )
    if multiple == 1:
        return no_protection(frames, multiple)
    spots = clear_spots(frames, noise, mask, false_rate=false_rate)
    clear = np.asarray(spots)
    if not clear.any():
        return no_protection(frames)
    if multiple is None:
        errors = _errors(
            frames, noise, mask, alpha, spots, norm=norm, false_rate=false_rate, key=key
        )
        multiple = FACTORS[int(np.argmin(errors))]
    return Protection(
        jnp.where(spots, multiple, jnp.ones((), frames.dtype)),
        clear & (multiple < 1),
        multiple,
    )


def _errors(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    mask: Bool[Array, "frame height width"] | None,
    alpha: Float[Array, "*frame"],
    spots: Bool[Array, "frame height width"],
    *,
    norm: Norm,
    false_rate: float,
    key: PRNGKeyArray,
) -> Float[np.ndarray, " factor"]:
    """The error at each factor, on squares around some of the spots."""
    places = _place(np.asarray(spots))
    whole = are_whole_counts(frames, noise, mask)
    y = frames if mask is None else jnp.where(mask, frames, 0)
    tiles = cut_tiles(y, places)
    valid = None if mask is None else cut_tiles(mask, places)
    own = jax.tree.map(lambda z: _cut_map(z, frames.shape, places), noise)
    split = deal(tiles, own, key=key, mask=valid, fraction=SEEN, whole_counts=whole)
    # of whole counts, the part that is seen has the noise of counts again
    seen = split.seen * SEEN if whole else split.seen
    seen = clear_spots(seen, own, valid, false_rate=false_rate)
    judged = seen & _inner(places, frames.shape)
    each = jnp.broadcast_to(alpha, len(frames))[places.corners[:, 0]] / SEEN**0.5
    return np.asarray(_weighted(split, own, seen, judged, each, norm=norm))


@partial(jax.jit, static_argnames="norm")
def _weighted(
    split: Split,
    noise: Noise,
    spots: Bool[Array, "tile side side"],
    judged: Bool[Array, "tile side side"],
    alphas: Float[Array, " tile"],
    *,
    norm: Norm,
) -> Float[Array, " factor"]:
    """The weighted error of the solution at each factor, in units of the noise.

    All tiles lie below each other in one image, apart by an invalid row, and each solve
    begins where the one before has ended.
    """
    clean = jnp.where(split.valid, split.seen, 0)
    weights = inverse_variance(clean, noise, split.valid)
    valid, seen, spots, held_out, spread, judged, weights, strengths = (
        jnp.pad(z, ((0, 0), (0, 1), (0, 0))).reshape(-1, z.shape[-1])
        for z in (
            split.valid,
            split.seen,
            spots,
            split.held_out,
            split.variance,
            judged,
            weights,
            jnp.broadcast_to(alphas[:, None, None], split.seen.shape),
        )
    )

    def advance(
        dual: Float[Array, "2 row column"], factor: Float[Array, ""]
    ) -> tuple[Float[Array, "2 row column"], Float[Array, ""]]:
        alpha = jnp.where(spots, factor, 1) * strengths
        solution = solve(seen, alpha, mask=valid, dual=dual, tol=GAP, norm=norm)
        lost = box_sum(jnp.where(valid, solution.image - held_out, 0), SIDE)
        error = (lost**2 - by_chance) * weights
        return solution.dual, jnp.sum(error, where=judged & valid)

    by_chance = box_sum(jnp.where(valid, spread, 0), SIDE)
    start = jnp.zeros((2, *seen.shape), seen.dtype)
    return lax.scan(advance, start, jnp.asarray(FACTORS, seen.dtype))[1]


def _place(spots: Bool[np.ndarray, "frame height width"]) -> Places:
    """Squares around pixels of spots, evenly taken from all; some twice, if few."""
    pixels = np.argwhere(spots)
    middle = pixels[np.linspace(0, len(pixels) - 1, TILES).astype(int)]
    side = min(TILE, *spots.shape[1:])
    corners = middle[:, 1:] - side // 2
    corners = np.clip(corners, 0, np.asarray(spots.shape[1:]) - side)
    return Places(np.concatenate([middle[:, :1], corners], axis=1), side)


def _inner(
    places: Places, shape: tuple[int, ...]
) -> Bool[np.ndarray, "tile side side"]:
    """True where a tile is far enough from what it was cut from to stand for it."""
    near = []
    for axis in (1, 2):
        first = places.corners[:, axis, None]
        line = np.arange(places.side)[None]
        begins = (line >= MARGIN) | (first == 0)
        ends = (line < places.side - MARGIN) | (first == shape[axis] - places.side)
        near.append(begins & ends)
    return near[0][:, :, None] & near[1][:, None, :]


def _cut_map(
    parameter: Float[Array, "..."], shape: tuple[int, ...], places: Places
) -> Float[Array, "..."]:
    """A parameter of the noise that has a level for each pixel, cut like the frames."""
    if jnp.shape(parameter)[-2:] != shape[1:]:
        return parameter
    return cut_tiles(jnp.broadcast_to(parameter, shape), places)
