import jax
import numpy as np
import pytest

from tvjax.stack.noise_draws import white_draws
from tvjax.stack.shared_edges import share_edges

SHAPE, KEY = (48, 48), jax.random.key(0)


@pytest.fixture(scope="module")
def scene():
    """A shaded leading image, and faint ones with the edges of each other."""
    y, x = np.indices(SHAPE) / SHAPE[0]
    blocks = (np.floor(4 * y) + np.floor(3 * x)) % 2
    leading = 40 * np.cos(3 * y) * np.cos(2 * x)
    truth = np.stack([leading, 4 * blocks, 1 - 2 * blocks])
    return truth.astype(np.float32)


def draw(scene, seed=0, deviation=1.0):
    rng = np.random.default_rng(seed)
    noise = deviation * rng.normal(size=scene.shape)
    return (scene + noise).astype(np.float32)


def shared(noisy, *, draws=None, variance=None, mask=None):
    draws = draws or white_draws(noisy.shape, variance, mask, KEY)
    return share_edges(noisy, variance=variance, mask=mask, draws=draws)


def errors(found, scene):
    return [np.mean((f.image - x) ** 2) for f, x in zip(found, scene, strict=True)]


@pytest.mark.slow
def test_faint_images_gain_from_the_edges_of_others(scene):
    noisy = draw(scene)
    together = errors(shared(noisy), scene)
    # the same image in the place of all others: nothing new is told
    alone = errors(shared(noisy[[0, 2]]), scene[[0, 2]])
    assert together[2] < 0.75 * alone[1]
    assert together[2] < 0.1


def test_divergence_is_that_of_each_image(scene):
    # Stein: the mean of ⟨f, noise⟩; ⟨truth, noise⟩ has none, and is taken off
    gains = []
    for seed in range(6):
        noisy = draw(scene, seed)
        draws = white_draws(noisy.shape, None, None, jax.random.key(seed))
        found = shared(noisy, draws=draws)
        parts = zip(found, noisy, scene, draws.probes, strict=True)
        gains.append(
            [
                np.vdot(f.image - x, y - x) - np.vdot(n, f.derivative)
                for f, y, x, n in parts
            ]
        )
    np.testing.assert_allclose(np.mean(gains, axis=0) / scene[0].size, 0, atol=0.03)


def test_invalid_pixels_and_an_uneven_variance_are_heeded(scene):
    mask = np.random.default_rng(1).random(SHAPE) < 0.9
    deviation = np.linspace(0.5, 1.5, SHAPE[1]) * np.ones(SHAPE)
    noisy = np.where(mask, draw(scene, 2, deviation), 0)
    variance = np.broadcast_to(deviation**2, scene.shape)
    found = shared(noisy, variance=variance, mask=mask)
    assert np.mean(((found[2].image - scene[2]) ** 2)[mask]) < 0.15
    # what its variance calls sure is changed less than what it calls doubtful
    change = np.where(mask, np.abs(found[2].image - noisy[2]), 0)
    assert change[:, :12].sum() < 0.6 * change[:, -12:].sum()
