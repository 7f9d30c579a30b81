import numpy as np
import pytest
from scipy.signal import convolve2d

from tvjax.noise.blocks import block_statistics, CURVATURE, filtered, SHARED
from tvjax.noise.sample import take_sample


def blocks(y, mask=None, **options):
    return block_statistics(take_sample(y, mask), **options)


def white(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_a_filter_is_the_convolution_where_it_does_not_reach_beyond():
    y = white((9, 12))
    expected = convolve2d(y, np.outer(CURVATURE, CURVATURE), mode="valid")
    np.testing.assert_allclose(filtered(y[None], CURVATURE)[0], expected)


def test_white_noise_has_its_variance_at_all_scales():
    found = blocks(3 * white((512, 512)))
    for power in (found.power, found.coarse, found.finest):
        # 262,144 pixels, of which SHARED count as one; coarse ones are a quarter
        assert power.mean() == pytest.approx(9, rel=0.03)


def test_freedom_tells_how_uncertain_a_power_is():
    found = blocks(white((1024, 1024)))
    inner = found.freedom == found.freedom.max()
    assert found.freedom.max() == pytest.approx(64 / SHARED)
    # variance of a mean of squares; neighbors within one block are somewhat more alike
    expected = 2 / found.freedom.max()
    assert found.power[inner].var() == pytest.approx(expected, rel=0.15)


def test_planes_and_products_of_slopes_are_no_noise():
    rows, columns = np.indices((32, 40))
    noise = 1e-3 * white((32, 40))
    found = blocks(3 + 2.0 * rows - columns + 0.1 * rows * columns + noise)
    # second differences along both axes cancel what is bilinear
    assert found.power.mean() == pytest.approx(1e-6, rel=0.3)


def test_what_is_active_tells_nothing_of_how_noisy_it_is():
    found = blocks(white((1024, 1024)))
    # 16,384 blocks: 0.8 % standard error of a correlation
    assert abs(np.corrcoef(found.activity, found.power)[0, 1]) < 0.04


def test_texture_leaves_the_finest_and_blurs_do_not():
    y = white((256, 256))
    blurred = convolve2d(y, np.ones((2, 2)) / 2, mode="same")
    found = blocks(blurred)
    assert found.finest.mean() < 0.5 * found.power.mean()
    assert found.coarse.mean() > 8 * found.power.mean()


def test_blocks_of_few_valid_pixels_and_without_noise_are_left_out():
    y, mask = white((16, 16)), np.ones((16, 16), bool)
    mask[:8, :6] = False
    y[8:, :8] = 5.0
    found = blocks(y, mask)
    np.testing.assert_array_equal(found.places, [[0, 4, 12], [0, 12, 12]])


def test_saturated_blocks_are_left_out():
    y = np.clip(100 + 10 * white((64, 64)), 0, 255)
    y[:32] = np.clip(250 + 10 * white((32, 64), 1), 0, 255)
    assert (blocks(y).places[:, 1] > 32).all()


def test_zeros_of_sparse_counts_are_no_saturation():
    counts = np.random.default_rng(1).poisson(0.2, (64, 64))
    assert len(blocks(counts).mean) == 64


def test_larger_blocks_hold_more():
    found = blocks(white((128, 128)), side=32)
    assert len(found.mean) == 16
    assert found.freedom.max() == pytest.approx(32**2 / SHARED)


def test_images_too_small_for_second_differences_have_first_ones():
    found = blocks(white((4, 400)))
    assert found.power.mean() == pytest.approx(1, rel=0.2)  # some 500 squares
    assert np.isnan(found.coarse).all()
