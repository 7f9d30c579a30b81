"""Tiles spread over large frames, on which a strength is chosen in little time."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped

# Tiles hold so many pixels in all: the risk of as many has its least value within a few
# percent of the truth's.
SAMPLE = 2**18
# Side of a tile in pixels. Smaller ones have too much border, where the total variation
# is another than within a frame.
TILE = 128
# Below so many pixels in all, tiles of half the side are more evenly spread.
FEW = 2**16
# Fewer tiles would not stand for the frames.
LEAST_TILES = 4


class Places(NamedTuple):
    """Where tiles lie in frames."""

    corners: Int[np.ndarray, "tile 3"]  # frame, row and column of the first pixel
    side: int


def place_tiles(
    frames: Float[Array, "frame height width"],
    mask: Bool[Array, "frame height width"] | None,
) -> Places | None:
    """Tiles evenly spread over the valid part of the frames.

    They hold a quarter of the pixels, or `SAMPLE`; None where the frames are too small.
    """
    size = min(frames.size // 4, SAMPLE)
    side = TILE if size > FEW else TILE // 2
    count = size // side**2
    if count < LEAST_TILES or min(frames.shape[1:]) < side:
        return None
    images, height, width = frames.shape
    axes = (
        np.arange(images),
        np.arange(0, height - side + 1, side),
        np.arange(0, width - side + 1, side),
    )
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    if mask is not None:
        tiles = cut_tiles(mask, Places(corners, side))
        share = np.asarray(tiles.mean((1, 2), dtype=np.float32))
        corners = corners[share > min(0.5, share.max() / 2)]
    return Places(corners[np.linspace(0, len(corners) - 1, count).astype(int)], side)


def cut_tiles(
    z: Shaped[Array, "frame height width"], places: Places
) -> Shaped[Array, "tile side side"]:
    """Squares out of frames."""
    return _cut(z, jnp.asarray(places.corners), places.side)


@partial(jax.jit, static_argnames="side")
def _cut(
    z: Shaped[Array, "frame height width"], corners: Int[Array, "tile 3"], side: int
) -> Shaped[Array, "tile {side} {side}"]:
    return jax.vmap(lambda corner: lax.dynamic_slice(z, corner, (1, side, side))[0])(
        corners
    )
