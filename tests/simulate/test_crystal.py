import numpy as np
import pytest

from tvjax.simulate import Crystal


@pytest.fixture(scope="module")
def crystal():
    return Crystal(d_min=1.0, b_factor=0.0)


@pytest.fixture(scope="module")
def reflections(crystal):
    return crystal.reflections()


def test_laue_equivalents_have_equal_intensity(reflections):
    _, group, size = np.unique(
        np.abs(reflections.hkl), axis=0, return_inverse=True, return_counts=True
    )
    spread = np.zeros((2, size.size))
    spread[0] = np.inf
    np.minimum.at(spread[0], group, reflections.intensity)
    np.maximum.at(spread[1], group, reflections.intensity)
    np.testing.assert_array_equal(spread[0], spread[1])
    num_zeros = np.sum(reflections.hkl == 0, axis=1)
    np.testing.assert_array_equal(size[group], 2 ** (3 - num_zeros))


def test_odd_reflections_on_the_axes_are_absent(reflections):
    axial = np.sum(reflections.hkl == 0, axis=1) == 2
    assert axial.any()
    assert np.all(reflections.hkl[axial].sum(axis=1) % 2 == 0)


def test_intensities_follow_wilson_statistics(reflections):
    unique = np.all(reflections.hkl > 0, axis=1)
    intensity = reflections.intensity[unique]
    # An exponential distribution has mean 1, and second moment 2; both estimates are
    # held to four of their standard errors, 1/√n and √20/√n.
    error = 4 / np.sqrt(intensity.size)
    assert abs(intensity.mean() - 1) < error
    assert abs(np.mean(intensity**2) - 2) < np.sqrt(20) * error


def test_vectors_have_the_length_of_their_spacing(crystal, reflections):
    spacing = 1 / np.linalg.norm(reflections.vector, axis=1)
    a, b, c = crystal.cell
    h, k, l = reflections.hkl.T  # noqa: E741
    np.testing.assert_allclose(
        spacing, ((h / a) ** 2 + (k / b) ** 2 + (l / c) ** 2) ** -0.5
    )
    assert spacing.min() >= crystal.d_min


def test_intensities_fall_with_the_b_factor(crystal, reflections):
    cold = Crystal(d_min=1.0, b_factor=3.0).reflections()
    np.testing.assert_array_equal(cold.hkl, reflections.hkl)
    square = np.sum(reflections.vector**2, axis=1)
    np.testing.assert_allclose(
        cold.intensity, reflections.intensity * np.exp(-1.5 * square)
    )


def test_a_cell_without_length_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        Crystal(cell=(5.0, 0.0, 14.0))
