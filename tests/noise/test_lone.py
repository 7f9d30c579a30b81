import numpy as np
import pytest

from tvjax.noise.lone import lone_pixels

SHAPE = (2, 128, 160)


def counts(mean, seed=2):
    drawn = np.random.default_rng(seed).poisson(mean, np.broadcast_shapes(SHAPE))
    return drawn.astype(np.float32)


def found(images, valid=None, step=1.0):
    valid = np.ones(images.shape, bool) if valid is None else valid
    return {tuple(map(int, at)) for at in np.argwhere(lone_pixels(images, valid, step))}


@pytest.mark.parametrize("value", [200, 65535, 4e9])
@pytest.mark.parametrize("mean", [0.01, 1, 10])
def test_a_defect_is_found_wherever_it_lies(value, mean):
    y = counts(mean)
    places = {(0, 10, 20), (1, 0, 0), (1, 127, 159), (0, 64, 0)}
    for place in places:
        y[place] = value
    assert found(y) == places


def test_a_dead_pixel_of_a_bright_field_is_found():
    y = counts(10_000)
    y[1, 30, 40] = 0
    # a count of zero is no multiple below its neighbors, a negative reading is
    y[0, 30, 40] = -50_000
    assert found(y) == {(0, 30, 40)}


@pytest.mark.parametrize("mean", [0.003, 0.3, 30, 3000])
@pytest.mark.parametrize("width", [0.6, 1.0])
def test_counts_and_narrow_spots_do_not_stand_alone(mean, width):
    rows, columns = np.indices(SHAPE[1:])
    spot = 500 * np.exp(-((rows - 50) ** 2 + (columns - 60.2) ** 2) / (2 * width**2))
    assert not found(counts(mean + spot))


def test_the_unit_does_not_matter():
    y = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    y[0, 5, 6] = 80
    for unit in (1e-12, 1.0, 1e12):
        assert found(unit * y, step=0.0) == {(0, 5, 6)}


def test_invalid_pixels_are_neither_alone_nor_neighbors():
    y, valid = counts(1), np.ones(SHAPE, bool)
    y[0, 10, 20], y[0, 10, 21], y[1, 7, 7] = 900, np.nan, 900
    valid[0, 10, 21] = valid[1, 7, 7] = False
    assert found(y, valid) == {(0, 10, 20)}
    # without any neighbor there is nothing to be above of
    valid[0, 9:12, 19:22] = False
    valid[0, 10, 20] = True
    assert found(y, valid) == set()


def test_a_constant_or_narrow_image_has_none():
    assert not found(np.ones((1, 8, 8), np.float32), step=0.0)
    assert not found(np.ones((1, 2, 8), np.float32))
