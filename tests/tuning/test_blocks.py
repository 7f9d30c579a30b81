import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.tuning.blocks import BlockGrid, MARGIN, SIDE


@pytest.mark.parametrize("shape", [(2, 300, 200), (1, 40, 500), (3, 128, 128)])
def test_blocks_cover_every_pixel_once(shape):
    blocks = BlockGrid(shape)
    every = np.arange(blocks.number)
    seen = np.zeros(shape, int)
    height, width = blocks.window
    for (frame, row, column), judged in zip(
        blocks.corners(every), blocks.judged(every), strict=True
    ):
        seen[frame, row : row + height, column : column + width] += judged
    np.testing.assert_array_equal(seen, 1)


def test_sums_over_blocks_are_those_over_the_judged_parts_of_their_windows():
    shape = (2, 300, 200)
    blocks = BlockGrid(shape)
    z = jnp.asarray(np.random.default_rng(0).integers(0, 9, shape), jnp.float32)
    every = np.arange(blocks.number)
    windows = np.asarray(blocks.cut(z, every)) * blocks.judged(every)
    np.testing.assert_allclose(blocks.sums(z), windows.sum((1, 2)))


def test_a_block_within_a_frame_has_a_margin_on_every_side():
    blocks = BlockGrid((1, 4 * SIDE, 4 * SIDE))
    inner = np.array([5])
    rows, columns = np.nonzero(blocks.judged(inner)[0])
    assert rows.min() == columns.min() == MARGIN
    assert rows.max() == columns.max() == MARGIN + SIDE - 1
