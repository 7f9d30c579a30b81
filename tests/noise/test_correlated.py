import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tvjax.noise import Correlated

KERNEL = np.asarray([[1, 2, 1], [2, 4, 2], [1, 2, 1]])


def correlation(z, row, column):
    z = np.asarray(z, float)
    height, width = z.shape
    moved = z[row:, column:] * z[: height - row, : width - column]
    return moved.mean() / (z**2).mean()


def test_a_draw_has_deviation_and_correlation_of_the_kernel():
    noise = Correlated(2.0, KERNEL)
    z = noise.draw(np.zeros((512, 512), np.float32), jax.random.key(0))
    assert z.dtype == np.float32 and z.shape == (512, 512)
    # 262,144 pixels, some eight of which count as one
    assert float(z.std()) == pytest.approx(2, rel=0.03)
    # binomial kernels: 4/6 along an axis, its square across
    assert correlation(z, 0, 1) == pytest.approx(4 / 6, abs=0.02)
    assert correlation(z, 1, 1) == pytest.approx(16 / 36, abs=0.02)
    # at the edge as elsewhere
    assert float(z[:2].std()) == pytest.approx(2, rel=0.12)


def test_frames_are_independent_and_sigma_may_be_a_map():
    sigma = np.linspace(1, 3, 64 * 64).reshape(64, 64)
    noise = Correlated(sigma, KERNEL)
    z = np.asarray(noise.draw(np.zeros((8, 64, 64)), jax.random.key(1)))
    assert z.shape == (8, 64, 64)
    assert abs(np.corrcoef(z[0].ravel(), z[1].ravel())[0, 1]) < 0.15
    ratio = z[:, 32:].std() / z[:, :32].std()
    assert ratio == pytest.approx(2.5 / 1.5, rel=0.15)
    np.testing.assert_allclose(noise.variance(np.zeros((64, 64))), sigma**2, rtol=1e-6)


def test_the_norm_of_the_kernel_does_not_matter():
    for factor in (1e-3, 5.0, -2.0):
        kernel = Correlated(1.0, factor * KERNEL).kernel
        np.testing.assert_allclose((kernel**2).sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("width", [0.5, 0.7, 1.0])
def test_blurred_noise_is_estimated_below_a_scene(width):
    rng = np.random.default_rng(2)
    noise = gaussian_filter(rng.normal(size=(512, 512)), width)
    noise *= 3 / noise.std()
    rows, columns = np.indices(noise.shape)
    disc = 60.0 * (np.hypot(rows - 250, columns - 250) < 120)
    found = Correlated.estimate(noise + disc)
    assert float(found.sigma) == pytest.approx(3, rel=0.07)
    drawn = found.draw(noise, jax.random.key(2))
    for place in ((0, 1), (1, 1), (0, 2)):
        expected = correlation(noise, *place)
        assert correlation(drawn, *place) == pytest.approx(expected, abs=0.06)


def test_it_can_be_traced():
    noise = Correlated(2.0, KERNEL)
    image = np.zeros((16, 16), np.float32)
    drawn = jax.jit(lambda y, key: noise.draw(y, key))(image, jax.random.key(0))
    np.testing.assert_allclose(drawn, noise.draw(image, jax.random.key(0)), atol=1e-5)


def test_what_is_no_kernel_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="odd number of rows and columns, got"):
        Correlated(1.0, np.ones((2, 3)))
    with pytest.raises(ValueError, match="finite and not zero everywhere"):
        Correlated(1.0, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="`sigma` must not be negative"):
        Correlated(-1.0, np.ones((3, 3)))
    with pytest.raises(ValueError, match="windows of 16 x 16 valid pixels"):
        Correlated.estimate(np.random.default_rng(0).normal(size=(9, 9)))
