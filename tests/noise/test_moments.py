import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy.stats import chi2

from tvjax.noise.moments import (
    _block_moments,
    _chi_square_quantile,
    as_images,
    BlockMoments,
    dark_gain,
    dark_line,
    moments_of_repeats,
    QUIET,
    quiet_variance,
    variance_line,
)


def images(y):
    return as_images(np.asarray(y), None)


def test_a_plane_has_no_variance_and_its_own_mean():
    rows, columns = np.mgrid[:16, :24]
    blocks = _block_moments(*images(3.0 + 2 * rows - columns))
    # mixed differences cancel what is linear; single precision of values below 60
    np.testing.assert_allclose(blocks.variance, 0, atol=1e-9)
    expected = (3.0 + 2 * rows - columns).reshape(2, 8, 3, 8).mean((1, 3)).ravel()
    np.testing.assert_allclose(blocks.mean, expected, rtol=1e-6)
    # a square of 2 x 2 pixels has one mixed difference
    np.testing.assert_array_equal(blocks.freedom, 16)
    assert blocks.valid.all()


def test_variance_of_a_block_is_that_of_the_noise_on_average():
    noise = 2.5 * np.random.default_rng(0).normal(size=(512, 512))
    blocks = _block_moments(*images(noise))
    # 4,096 blocks of 16 degrees of freedom: 0.6 % standard error
    assert np.mean(blocks.variance) == pytest.approx(2.5**2, rel=0.03)


def test_blocks_of_few_valid_pixels_are_not_valid():
    y, mask = np.ones((16, 16)), np.ones((16, 16), bool)
    mask[:8, :6] = False  # of the first block a quarter is left
    blocks = _block_moments(*as_images(y, mask))
    np.testing.assert_array_equal(blocks.valid, [False, True, True, True])


@pytest.mark.parametrize("count", [4, 16, 100])
def test_quantile_is_that_of_the_chi_square_distribution(count):
    found = float(_chi_square_quantile(jnp.asarray(float(count))))
    # Wilson and Hilferty are within a percent from four degrees of freedom on
    assert found == pytest.approx(chi2.ppf(QUIET, count) / count, rel=0.01)


def test_spots_and_edges_leave_variance_and_gain_alone():
    rng = np.random.default_rng(1)
    counts = rng.poisson(3.0, (256, 256)).astype(float)
    counts[100:104, 50:54] += 5000
    assert float(dark_gain(*images(counts))) == pytest.approx(1, rel=0.05)
    white = rng.normal(size=(256, 256))
    white[:, 130:] += 40
    assert float(quiet_variance(*images(white))) == pytest.approx(1, rel=0.05)


def test_an_exact_line_is_found_exactly(double):
    mean = jnp.asarray([1.0, 4.0, 10.0, 50.0])
    freedom, valid = jnp.full(4, 16.0), jnp.ones(4, bool)
    blocks = BlockMoments(mean, 0.7 * mean + 3.0, freedom, valid)
    slope, floor = variance_line(blocks, valid)
    assert float(slope) == pytest.approx(0.7) and float(floor) == pytest.approx(3.0)


def test_line_of_counts_and_readout_is_found():
    rng = np.random.default_rng(2)
    level = np.linspace(5, 60, 256)[:, None] * np.ones(256)
    y = 2 * rng.poisson(level / 2) + 3 * rng.normal(size=level.shape)
    gain, floor = dark_line(*images(y))
    assert float(gain) == pytest.approx(2, rel=0.1)
    # read from the far end of the line: a few units of its variance of 10 to 120
    assert float(floor) == pytest.approx(9, abs=6)


def test_repeats_have_the_moments_of_each_pixel():
    y = np.random.default_rng(3).normal(size=(5, 6, 7))
    with jax.enable_x64(True):
        mean, variance, valid = moments_of_repeats(y, None)
    np.testing.assert_allclose(mean, y.mean(0))
    np.testing.assert_allclose(variance, y.var(0, ddof=1))
    assert valid.all()


def test_what_tells_no_noise_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="needs images of at least 2 x 2"):
        as_images(np.ones((1, 9)), None)
    with pytest.raises(ValueError, match="leaves no valid pixel"):
        as_images(np.ones((4, 4)), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="at least two exposures, got 1"):
        moments_of_repeats(np.ones((1, 4, 4)), None)
