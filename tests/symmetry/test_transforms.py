import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.symmetry import find_group
from tvjax.symmetry.transforms import (
    count_fixing,
    interpolate,
    offsets_from,
    specialize_centre,
    transform,
)

SHAPE = (11, 14)


@pytest.fixture
def y():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.poisson(0.7, SHAPE).astype(np.float32))


@pytest.fixture
def mask():
    return jnp.asarray(np.random.default_rng(1).random(SHAPE) > 0.15)


@pytest.mark.parametrize("centre", [(5.13, 6.31), (-2.6, 4.9), (4.5, 13.2)])
def test_a_shift_of_rows_and_columns_is_an_interpolation(y, mask, centre):
    for operation in find_group("4mm").operations:
        shifted = transform(y, operation, jnp.asarray(centre), mask)
        matrix = jnp.asarray(operation.matrix, y.dtype)
        general = interpolate(y, matrix, centre, mask)
        np.testing.assert_allclose(shifted.weight, general.weight, atol=1e-5)
        known = np.asarray(general.weight) > 1e-3  # below, rounding makes what there is
        for one, other in zip(shifted, general, strict=True):
            np.testing.assert_allclose(one[known], other[known], rtol=1e-3, atol=2e-5)


def test_whole_operations_are_those_of_numpy(y):
    everything = jnp.ones(SHAPE, bool)
    flips = {"mirror-x": np.s_[:, ::-1], "mirror-y": np.s_[::-1]}
    for name, flip in flips.items():
        moved = transform(y, find_group(name).operations[1], (5.0, 6.5), everything)
        np.testing.assert_array_equal(moved.image, y[flip])
    square = y[:, :11]
    turn = find_group("4").operations[1]
    moved = transform(square, turn, (5.0, 5.0), everything[:, :11])
    # g(r) = f(c + R (r − c)) with R (row, column) = (−column, row)
    np.testing.assert_array_equal(moved.image, np.rot90(square, -1))


def test_what_comes_from_outside_has_no_weight(y, mask):
    moved = transform(y, find_group("friedel").operations[1], (2.0, 6.5), mask)
    np.testing.assert_array_equal(moved.weight[5:], 0)
    np.testing.assert_array_equal(moved.image[5:], 0)
    np.testing.assert_array_equal(moved.weight[:5], mask[4::-1, ::-1])


def test_offsets_are_those_of_the_pixels():
    rows, columns = offsets_from((1.5, -2.0), (3, 4), np.dtype("float32"))
    np.testing.assert_array_equal(rows[:, 0], [-1.5, -0.5, 0.5])
    np.testing.assert_array_equal(columns[0], [2, 3, 4, 5])


def test_an_operation_fixes_the_centre_and_a_mirror_its_line():
    at = (np.dtype("float32"),)
    turned = count_fixing(find_group("4"), (5.0, 5.0), SHAPE, *at)
    assert turned[5, 5] == 4 and jnp.sum(turned > 1) == 1
    mirrored = count_fixing(find_group("mirror-x"), (3.3, 6.0), SHAPE, *at)
    np.testing.assert_array_equal(np.flatnonzero(np.all(mirrored == 2, axis=0)), [6])


@pytest.mark.parametrize(
    "name, centre, exact",
    [
        ("friedel", (4.5, 6.0), True),
        ("friedel", (4.3, 6.0), False),
        ("mirror-x", (4.3, 6.5), True),
        ("3", (4.0, 6.0), False),
    ],
)
def test_a_centre_stays_in_numbers_where_that_spares_interpolation(name, centre, exact):
    found = specialize_centre(centre, find_group(name))
    assert isinstance(found, jax.Array) != exact
    np.testing.assert_allclose(found, centre, rtol=1e-6)  # of single precision
    assert isinstance(
        specialize_centre(jnp.asarray(centre), find_group(name)), jax.Array
    )
