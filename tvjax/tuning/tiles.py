"""Tiles spread over large frames, on which a strength is chosen in little time."""

from functools import partial

import jax
import numpy as np
from jax import Array, lax, numpy as jnp

from tvjax.noise import Noise

# The risk of so many pixels has its least value within a few percent of the truth's.
SAMPLE = 2**18


TILE = 128


def sample_tiles(
    frames: Array, mask: Array | None, other: Array | None, noise: Noise
) -> tuple[Array, Array | None, Array | None] | None:
    """Tiles evenly spread over the frames: a quarter of the pixels, or `SAMPLE`.

    None for images too small, and for a noise level of each pixel's own.
    """
    uniform = all(jnp.ndim(parameter) == 0 for parameter in jax.tree.leaves(noise))
    places = place_tiles(frames, mask) if uniform else None
    if places is None:
        return None
    return tuple(
        None if z is None else cut_tiles(z, *places) for z in (frames, mask, other)
    )


def place_tiles(frames: Array, mask: Array | None) -> tuple[np.ndarray, int] | None:
    """Corners and side of tiles evenly spread over the frames' valid part."""
    size = min(frames.size // 4, SAMPLE)
    side = TILE if size > 2**16 else TILE // 2
    count = size // side**2
    if count < 4 or min(frames.shape[1:]) < side:
        return None
    images, height, width = frames.shape
    axes = (
        np.arange(images),
        np.arange(0, height - side + 1, side),
        np.arange(0, width - side + 1, side),
    )
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    if mask is not None:
        share = cut_tiles(mask, corners, side).mean((1, 2), dtype=np.float32)
        corners = corners[np.asarray(share) > min(0.5, share.max() / 2)]
    return corners[np.linspace(0, len(corners) - 1, count).astype(int)], side


@partial(jax.jit, static_argnames="side")
def cut_tiles(z: Array, corners: Array, side: int) -> Array:
    """Squares out of images."""
    return jax.vmap(lambda corner: lax.dynamic_slice(z, corner, (1, side, side))[0])(
        corners
    )
