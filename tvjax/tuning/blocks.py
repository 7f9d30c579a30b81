"""Frames in blocks, each with a margin around it that is denoised and not judged."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped

# Side of a block in pixels.
SIDE = 128
# Pixels around a block that are denoised with it: total variation reaches further only
# where it sees nothing.
MARGIN = 8


class BlockGrid(NamedTuple):
    """A grid of blocks over frames of one size, numbered frame by frame, row by row."""

    shape: tuple[int, int, int]  # of the frames: frame, height, width

    @property
    def grid(self) -> tuple[int, int, int]:
        """Number of frames, and of blocks along each axis of one."""
        frames, height, width = self.shape
        return frames, -(-height // SIDE), -(-width // SIDE)

    @property
    def number(self) -> int:
        """How many blocks there are."""
        return int(np.prod(self.grid))

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of a block with its margin, no larger than a frame."""
        height, width = (min(size, SIDE + 2 * MARGIN) for size in self.shape[1:])
        return height, width

    def corners(self, chosen: Int[np.ndarray, " block"]) -> Int[np.ndarray, "block 3"]:
        """Frame, row and column where the windows of some blocks begin."""
        frame, row, column = np.unravel_index(chosen, self.grid)
        corner = np.stack([row, column]) * SIDE - MARGIN
        room = np.subtract(self.shape[1:], self.window)[:, None]
        return np.stack([frame, *np.clip(corner, 0, room)], axis=1)

    def judged(
        self, chosen: Int[np.ndarray, " block"]
    ) -> Bool[np.ndarray, "block height width"]:
        """Which pixels of each window belong to its block."""
        index = np.unravel_index(chosen, self.grid)[1:]
        along = [
            (start[:, None] + np.arange(size)) // SIDE == block[:, None]
            for start, size, block in zip(
                self.corners(chosen).T[1:], self.window, index, strict=True
            )
        ]
        return along[0][:, :, None] & along[1][:, None, :]

    def cut(
        self, z: Shaped[Array, "frame height width"], chosen: Int[np.ndarray, " block"]
    ) -> Shaped[Array, "block rows columns"]:
        """The windows of some blocks."""
        return _cut(z, jnp.asarray(self.corners(chosen)), self.window)

    def sums(self, z: Float[Array, "frame height width"]) -> Float[Array, " block"]:
        """The sum over each block."""
        frames, rows, columns = self.grid
        room = [
            (0, n * SIDE - size)
            for n, size in zip((rows, columns), self.shape[1:], strict=True)
        ]
        z = jnp.pad(z, [(0, 0), *room])
        return z.reshape(frames, rows, SIDE, columns, SIDE).sum((2, 4)).reshape(-1)


@partial(jax.jit, static_argnames="window")
def _cut(
    z: Shaped[Array, "frame height width"],
    corners: Int[Array, "block 3"],
    window: tuple[int, int],
) -> Shaped[Array, "block rows columns"]:
    return jax.vmap(lambda corner: lax.dynamic_slice(z, corner, (1, *window))[0])(
        corners
    )
