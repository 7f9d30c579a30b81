import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.operators import (
    difference,
    difference_adjoint,
    pixel_norm,
    total_variation,
    valid_differences,
)

SHAPES = [(7,), (5, 4), (3, 4, 2), (1, 6), (6, 1)]


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def some_mask(shape):
    return np.random.default_rng(9).random(shape) < 0.8


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("masked", [False, True])
def test_difference_and_adjoint_are_the_dense_matrix_and_its_transpose(
    shape, masked, dtype
):
    mask = some_mask(shape) if masked else None
    matrix = reference.difference_matrix(shape, mask)
    exists = valid_differences(shape, None if mask is None else jnp.asarray(mask))
    x, p = normal(shape).astype(dtype), normal((len(shape), *shape), 1).astype(dtype)
    steps = difference(jnp.asarray(x), exists)
    back = difference_adjoint(jnp.asarray(p), exists)
    assert steps.dtype == back.dtype == dtype
    # sums of at most 2 ndim numbers of order one
    atol = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        np.reshape(steps, (len(shape), -1)), matrix @ x.ravel(), atol=atol
    )
    expected = np.einsum("kij,ki->j", matrix, p.reshape(len(shape), -1))
    np.testing.assert_allclose(np.ravel(back), expected, atol=atol)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_squared_norm_of_the_difference_is_below_four_per_axis(ndim):
    shape = (64, 12, 5)[ndim - 1 :][:1] * ndim
    matrix = reference.difference_matrix(shape).reshape(-1, shape[0] ** ndim)
    largest = np.linalg.norm(matrix, 2) ** 2
    # Neumann: 4 Σ sin²(π (n − 1) / 2n), which tends to the bound from below
    n = shape[0]
    np.testing.assert_allclose(largest, 4 * ndim * np.cos(np.pi / (2 * n)) ** 2)
    assert largest < 4 * ndim


def test_no_difference_touches_an_invalid_pixel():
    mask = some_mask((6, 5))
    exists = np.asarray(valid_differences((6, 5), jnp.asarray(mask)))
    np.testing.assert_array_equal(exists[0, :-1], mask[1:] & mask[:-1])
    np.testing.assert_array_equal(exists[1, :, :-1], mask[:, 1:] & mask[:, :-1])
    assert not exists[0, -1].any() and not exists[1, :, -1].any()


def test_pixel_norm_of_three_and_four_is_five_or_seven():
    p = jnp.asarray([[3.0, 0.0], [-4.0, 0.0]])
    np.testing.assert_array_equal(pixel_norm(p), [5, 0])
    np.testing.assert_array_equal(pixel_norm(p, "anisotropic"), [7, 0])


@pytest.mark.parametrize("norm", ["isotropic", "anisotropic"])
def test_gradient_of_a_norm_is_its_direction_and_zero_at_zero(norm):
    p = jnp.asarray([[3.0, 0.0], [-4.0, 0.0]])
    slope = jax.grad(lambda p: jnp.sum(pixel_norm(p, norm)))(p)
    along = [0.6, -0.8] if norm == "isotropic" else [1, -1]
    np.testing.assert_allclose(slope, [[along[0], 0], [along[1], 0]], rtol=1e-6)


@pytest.mark.parametrize("norm", ["isotropic", "anisotropic"])
def test_gradient_of_the_total_variation_of_a_constant_is_zero(norm, dtype):
    flat = jnp.full((4, 5), 3.0, dtype)
    slope = jax.grad(lambda x: total_variation(x, norm=norm))(flat)
    np.testing.assert_array_equal(slope, 0)


def test_total_variation_of_a_region_is_its_height_times_its_perimeter():
    x = jnp.zeros((8, 9)).at[2:5, 3:7].set(2.5)
    # 3 x 4 pixels; at one corner both differences start in the same pixel
    perimeter = 2 * (3 + 4)
    np.testing.assert_allclose(total_variation(x, norm="anisotropic"), 2.5 * perimeter)
    np.testing.assert_allclose(
        total_variation(x), 2.5 * (perimeter - 2 + np.sqrt(2)), rtol=1e-6
    )


@pytest.mark.parametrize("norm", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_total_variation_agrees_with_the_dense_matrix(norm, shape):
    x, mask = normal(shape), some_mask(shape)
    expected = reference.total_variation(x, mask, norm)
    spoiled = np.where(mask, x, np.nan)
    value = total_variation(jnp.asarray(spoiled), mask=jnp.asarray(mask), norm=norm)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_invalid_pixels_have_no_part_in_the_gradient_of_the_total_variation():
    mask = some_mask((6, 5))
    x = jnp.asarray(np.where(mask, normal((6, 5)), np.nan))
    slope = jax.grad(lambda x: total_variation(x, mask=jnp.asarray(mask)))(x)
    assert np.isfinite(slope).all() and not slope[~mask].any()


def test_an_unknown_norm_is_refused_by_name():
    with pytest.raises(ValueError, match=r"`norm` must be one of .*'euclidean'"):
        total_variation(jnp.ones((3, 3)), norm="euclidean")
