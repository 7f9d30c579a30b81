import jax
import numpy as np

from tvjax.stack.noise_draws import (
    correlated_draws,
    NoiseDraws,
    signal_free_directions,
    white_draws,
    without_components,
)

SHAPE, KEY = (40, 50), jax.random.key(0)


def test_signal_free_directions_are_orthonormal_and_orthogonal_to_the_signal():
    signal, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 4)))
    found = signal_free_directions(signal, 20, KEY)
    np.testing.assert_allclose(found.T @ found, np.eye(20), atol=1e-12)
    np.testing.assert_allclose(signal.T @ found, 0, atol=1e-12)


def test_white_draws_have_the_variance_of_each_pixel():
    variance = np.linspace(0, 4, 50) * np.ones((200, *SHAPE))
    mask = np.random.default_rng(1).random(SHAPE) < 0.8
    draws = white_draws(variance.shape, variance, mask, KEY)
    for images in draws:
        assert not images[:, ~mask].any()
        found = np.mean(images**2, axis=0)[mask]
        np.testing.assert_allclose(found, variance[0][mask], rtol=0.5)
        np.testing.assert_allclose(found.mean(), variance[0][mask].mean(), rtol=0.02)
    np.testing.assert_allclose(draws.probes**2, np.where(mask, variance, 0), rtol=1e-5)


def test_correlated_draws_are_as_alike_as_the_kernel_makes_them():
    variance = np.linspace(1, 4, 50) * np.ones((300, *SHAPE))
    mask = np.random.default_rng(1).random(SHAPE) < 0.8
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 6
    draws = correlated_draws(variance.shape, variance, mask, kernel, KEY)
    plain = correlated_draws(variance.shape, None, None, kernel, KEY)
    for images in draws:
        assert not images[:, ~mask].any()
        np.testing.assert_allclose(
            np.mean(images[:, mask] ** 2), variance[0][mask].mean(), rtol=0.02
        )
    for images in plain:
        np.testing.assert_allclose(np.mean(images**2), 1, rtol=0.02)
        beside = np.mean(images[:, 1:] * images[:, :-1])
        np.testing.assert_allclose(beside, 2 / 3, rtol=0.02)
    both = np.mean(plain.splitting * plain.probes)
    assert abs(both) < 0.02  # independent: 600,000 pixels, a quarter of them so


def test_draws_serve_twice_where_they_are_few():
    images = np.arange(3.0)[:, None, None] * np.ones((3, 2, 2))
    splitting, probes = (part[:, 0, 0].tolist() for part in NoiseDraws.of(images, 3))
    assert splitting == [0, 2, 1] and probes == [1, 0, 2]


def test_draws_are_independent_of_the_components():
    # of noise alone, whose leading components have more of it than they should
    rng = np.random.default_rng(2)
    stack = rng.normal(size=(30, *SHAPE))
    rows = stack.reshape(30, -1)
    vectors = np.linalg.eigh(rows @ rows.T)[1][:, ::-1][:, :3]
    directions = signal_free_directions(np.zeros((30, 0)), 10, KEY)
    images, drawn = (np.tensordot(part.T, stack, 1) for part in (vectors, directions))
    common = np.tensordot(drawn, images, ((1, 2), (1, 2))) / images[0].size
    assert np.abs(common).max() > 0.2
    left = without_components(drawn, directions, images, vectors)
    common = np.tensordot(left, images, ((1, 2), (1, 2))) / images[0].size
    np.testing.assert_allclose(common, 0, atol=1e-9)
    np.testing.assert_allclose(np.mean(left**2, axis=(1, 2)), 1, rtol=0.1)
