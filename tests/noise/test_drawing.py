import jax
import numpy as np

from tvjax.noise.drawing import padded_size, SHARED, white_noise


def test_deviates_have_variance_one_in_any_shape():
    drawn = white_noise((3, 50, 41), jax.random.key(0), np.float32)
    assert drawn.shape == (3, 50, 41) and drawn.dtype == np.float32
    # 6,150 deviates, at 4 standard errors
    assert abs(float(np.mean(drawn))) < 4 / 6150**0.5
    assert abs(float(np.var(drawn)) - 1) < 4 * (2 / 6150) ** 0.5


def test_small_shapes_share_a_size():
    assert padded_size(1000) == padded_size(600) == 1024
    assert padded_size(SHARED + 1) == SHARED + 1
