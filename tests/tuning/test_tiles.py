import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.tuning.tiles import cut_tiles, place_tiles, Places, SAMPLE, TILE


def inside(places, shape):
    """Whether all tiles lie in the frames and none upon another."""
    covered = np.zeros(shape, int)
    for frame, row, column in places.corners:
        square = np.s_[frame, row : row + places.side, column : column + places.side]
        assert covered[square].shape == (places.side, places.side)
        covered[square] += 1
    return covered.max() == 1


@pytest.mark.parametrize("shape", [(1, 600, 700), (3, 257, 1000), (1, 2048, 2048)])
def test_tiles_hold_a_quarter_of_the_pixels_or_the_sample(shape):
    frames = jnp.zeros(shape)
    places = place_tiles(frames, None)
    assert places.side == TILE and inside(places, shape)
    pixels = len(places.corners) * TILE**2
    wanted = min(frames.size // 4, SAMPLE)
    assert wanted - TILE**2 < pixels <= wanted
    assert set(places.corners[:, 0]) == set(range(shape[0])), "every frame has some"


def test_few_pixels_have_smaller_tiles_and_fewer_none():
    places = place_tiles(jnp.zeros((1, 256, 300)), None)
    assert places.side == TILE // 2 and inside(places, (1, 256, 300))
    assert place_tiles(jnp.zeros((1, 200, 200)), None) is None
    # many pixels, but none of the frames holds a tile
    assert place_tiles(jnp.zeros((400, 50, 50)), None) is None


def test_tiles_avoid_what_is_invalid():
    mask = np.ones((1, 512, 512), bool)
    mask[:, :256] = False
    places = place_tiles(jnp.zeros(mask.shape), jnp.asarray(mask))
    assert places.corners[:, 1].min() >= 256
    # where less than half of every tile is valid, the best of them serve
    sparse = np.random.default_rng(0).random((1, 512, 512)) < 0.1
    assert place_tiles(jnp.zeros(mask.shape), jnp.asarray(sparse)) is not None


def test_cut_tiles_are_the_squares_at_the_corners():
    frames = np.arange(2 * 6 * 7).reshape(2, 6, 7)
    places = Places(np.asarray([[0, 0, 0], [1, 2, 4], [1, 3, 1]]), 3)
    tiles = cut_tiles(jnp.asarray(frames), places)
    expected = [frames[k, i : i + 3, j : j + 3] for k, i, j in places.corners]
    np.testing.assert_array_equal(tiles, expected)
    valid = cut_tiles(jnp.asarray(frames > 40), places)
    np.testing.assert_array_equal(valid, np.asarray(expected) > 40)
