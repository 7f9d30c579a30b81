import numpy as np
import pytest

from tvjax.simulate import particle
from tvjax.simulate.particle import part_into_grains


def test_a_particle_fills_its_outline_and_nothing_else():
    thickness = particle((80, 96), seed=5)
    y, x = np.indices(thickness.shape)
    distance = np.hypot(y - 39.5, x - 47.5)
    radius = 0.36 * 80
    uneven = 0.06 * (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5)
    reach = 4 * np.sqrt(2)  # of the kernel of the resolution, along the diagonal
    assert np.all(thickness[distance > (1 + uneven) * radius + reach] == 0)
    assert np.all(thickness[distance < (1 - uneven) * radius] > 0)
    assert thickness.max() == 1 and thickness.dtype == np.float32


def test_grains_are_the_cells_nearest_to_their_centres():
    first, second, way = part_into_grains((40, 48), 1)
    assert np.all(first != second) and np.all(way >= 0)
    # The way to the boundary changes by at most a pixel a pixel, in radii.
    pixel = 1 / (0.36 * 40)
    same = first[:, 1:] == first[:, :-1]
    assert np.abs(np.diff(way, axis=1))[same].max() < 1.001 * pixel
    # Two pixels on either side of a boundary are a pixel apart, so one is within half.
    either = np.minimum(way[:, 1:], way[:, :-1])[~same]
    assert either.max() < 0.501 * pixel


def test_seeds_reproduce_and_differ():
    for draw in (particle, lambda *shape: part_into_grains(*shape)[0]):
        np.testing.assert_array_equal(draw((32, 40), 1), draw((32, 40), 1))
        assert np.any(draw((32, 40), 1) != draw((32, 40), 2))


def test_edges_are_as_sharp_as_the_microscope_s_resolution():
    # a step seen at a deviation of one pixel falls by at most 0.4 of itself a pixel;
    # a hole of the particle is no step, and no deeper than 0.8 of the thickness
    thickness = particle((80, 96), seed=5)
    for axis in (0, 1):
        assert np.abs(np.diff(thickness, axis=axis)).max() < 0.4


@pytest.mark.parametrize(
    ("misuse", "sentence"),
    [
        (lambda: particle((8, 64)), r"at least 16 pixels, got \(8, 64\)"),
    ],
)
def test_misuse_is_told_in_a_sentence(misuse, sentence):
    with pytest.raises(ValueError, match=sentence):
        misuse()
