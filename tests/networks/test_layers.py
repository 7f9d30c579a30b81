import itertools

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.networks.layers import convolve, draw_kernels, fold, sum_quads, unfold


def normal(*shape, dtype=np.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


@pytest.mark.parametrize("size", [1, 3])
def test_convolution_is_a_sum_over_the_neighbors(size, dtype):
    y, kernels = normal(2, 5, 6, 3, dtype=dtype), normal(size, size, 3, 4, dtype=dtype)
    margin = size // 2
    around = np.pad(y, [(0, 0), (margin,) * 2, (margin,) * 2, (0, 0)])
    expected = sum(
        around[:, i : i + 5, j : j + 6] @ np.asarray(kernels[i, j])
        for i, j in itertools.product(range(size), repeat=2)
    )
    # some 30 products of order one
    atol = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(convolve(y, kernels), expected, atol=atol)
    inner = expected[:, margin : 5 - margin, margin : 6 - margin]
    np.testing.assert_allclose(convolve(y, kernels, "VALID"), inner, atol=atol)


def test_folding_is_undone():
    features = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    folded = fold(features)
    assert folded.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(folded[1, 0, 2, :3], features[1, 0, 4])
    np.testing.assert_array_equal(unfold(folded), features)


def test_quads_are_summed_and_fewer_at_a_border_of_odd_length():
    y = jnp.arange(15.0).reshape(3, 5)
    expected = [[0 + 1 + 5 + 6, 2 + 3 + 7 + 8, 4 + 9], [10 + 11, 12 + 13, 14]]
    np.testing.assert_array_equal(sum_quads(y), expected)


@pytest.mark.parametrize("gain", [1.0, 0.2])
def test_kernels_keep_the_size_of_what_was_rectified(gain):
    y = normal(1, 32, 32, 64)
    kernels = draw_kernels(jax.random.key(0), (3, 3, 64, 64), gain)
    inner = convolve(jax.nn.relu(y), kernels, "VALID")
    # Half of the inputs' squares are left, and the variance of a weight is twice one
    # over their number. The 36,864 weights tell it within 1 %, the outputs within 5 %.
    assert float(jnp.mean(inner**2)) == pytest.approx(gain**2, rel=0.1)
    assert float(jnp.std(kernels)) == pytest.approx(gain * (2 / 576) ** 0.5, rel=0.02)
