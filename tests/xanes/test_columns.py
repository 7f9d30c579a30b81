import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.xanes.columns import (
    check_ascending,
    count_energies,
    float_type,
    per_pixel,
    root,
    to_columns,
    to_pixels,
)


def test_columns_and_pixels_are_each_other_s_inverse():
    stack = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    columns, valid, pixels = to_columns(stack, None)
    assert columns.shape == (5, 12) and pixels == (3, 4) and valid.all()
    np.testing.assert_array_equal(to_pixels(columns, pixels), stack)
    np.testing.assert_array_equal(to_pixels(columns[0], pixels), stack[0])
    one, valid, pixels = to_columns(stack[:, 0, 0], None)
    assert one.shape == (5, 1) and pixels == () and valid.shape == (1,)


def test_invalid_pixels_are_zero():
    stack = np.ones((3, 4), np.float32)
    stack[1, 2] = np.nan
    columns, valid, _ = to_columns(stack, np.asarray([True, False, True, True]))
    np.testing.assert_array_equal(valid, [True, False, False, True])
    np.testing.assert_array_equal(columns, np.ones((3, 1)) * np.asarray([1, 0, 0, 1]))


def test_integers_become_floating_point(double):
    assert float_type(np.ones(3, np.uint16)) == np.float32
    assert float_type(np.ones(3, np.float64)) == np.float64


def test_a_number_serves_every_pixel():
    np.testing.assert_array_equal(per_pixel("a", 2.0, (2, 3), np.dtype("f")), [2.0] * 6)
    each = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(per_pixel("a", each, (2, 3), np.dtype("f")), range(6))


def test_the_root_has_no_slope_at_zero():
    values = jnp.asarray([0.0, 4.0])
    np.testing.assert_allclose(root(values), [0, 2])
    np.testing.assert_allclose(jax.grad(lambda v: root(v).sum())(values), [0, 0.25])


@pytest.mark.parametrize(
    ("misuse", "sentence"),
    [
        (lambda: count_energies("y", 1.0), "`y` must have an axis of energies"),
        (lambda: to_columns(np.ones((3, 4)), np.ones(3, bool)), "shape of the pixels"),
        (lambda: check_ascending([1.0, 2.0], 3), "one per spectrum's sample, 3"),
        (lambda: check_ascending([1.0], 1, least=2), "at least 2, got shape"),
        (lambda: check_ascending([1.0, np.nan], 2), "must ascend without repeats"),
        (
            lambda: per_pixel("sigma", np.ones(3), (2, 3), np.dtype("f")),
            r"`sigma` must be a scalar or one per pixel, \(2, 3\)",
        ),
    ],
)
def test_misuse_gets_a_sentence(misuse, sentence):
    with pytest.raises(ValueError, match=sentence):
        misuse()
