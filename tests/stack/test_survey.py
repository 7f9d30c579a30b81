import jax
import numpy as np
import pytest

from tvjax.noise import Correlated, Gaussian, Poisson
from tvjax.stack import survey as surveys
from tvjax.stack.blocks import Blocks
from tvjax.stack.survey import is_large, num_passes, survey

SHAPE, ENERGIES, KEY = (32, 40), 20, jax.random.key(0)


@pytest.fixture(scope="module")
def signal():
    """Two components that are far above the noise, and positive."""
    rng = np.random.default_rng(0)
    spectra = rng.uniform(1, 3, (ENERGIES, 2))
    return np.tensordot(spectra, rng.uniform(5, 15, (2, *SHAPE)), 1)


def noisy(signal, sigma=1.0, seed=1):
    noise = sigma * np.random.default_rng(seed).normal(size=signal.shape)
    return (signal + noise).astype(np.float32)


def surveyed(y, noise=None, mask=None):
    return survey(y, Blocks(y, mask, 2**20, lambda done, total: None), noise, KEY)


def test_two_strong_components_are_clear_and_no_more(signal):
    y = noisy(signal)
    found = surveyed(y, Gaussian(1.0))
    np.testing.assert_allclose(found.sigma, 1)
    assert found.num_independent == y[0].size
    assert found.num_clear(y[0].size) == 2
    rows = y.reshape(ENERGIES, -1).astype(float)
    values = np.linalg.svd(rows, compute_uv=False)
    np.testing.assert_allclose(found.basis.values, values, rtol=1e-6)


def test_noise_alone_leaves_one_component(signal):
    found = surveyed(noisy(0 * signal), Gaussian(1.0))
    assert found.num_clear(SHAPE[0] * SHAPE[1]) == 1


def test_levels_come_from_the_model_or_from_the_data(signal):
    counts = np.random.default_rng(2).poisson(signal).astype(np.int32)
    by_model = surveyed(counts, Poisson(1.0))
    np.testing.assert_allclose(by_model.sigma**2, counts.mean(axis=(1, 2)), rtol=1e-5)
    # 1,280 pixels tell a deviation to 2 percent
    by_data = surveyed(counts)
    np.testing.assert_allclose(by_data.sigma, by_model.sigma, rtol=0.1)
    # few energies: from each image, of which nothing is smooth here
    few = surveyed(noisy(0 * signal[:4], 3.0))
    np.testing.assert_allclose(few.sigma, 3, rtol=0.1)


@pytest.mark.parametrize("mean", [3.0, 50.0])
def test_few_energies_of_counts_have_their_mean_variance(mean):
    light = mean * np.geomspace(0.2, 1, 160) * np.ones((4, 128, 160))
    counts = np.random.default_rng(4).poisson(light).astype(np.int32)
    found = surveyed(counts)
    # as white noise their dimmest parts would decide, of half the deviation
    np.testing.assert_allclose(found.sigma**2, counts.mean(axis=(1, 2)), rtol=0.05)


@pytest.mark.parametrize("given", [True, False])
def test_correlated_noise_has_its_kernel_and_fewer_independent_pixels(given):
    noise = Correlated(2.0, np.outer([1, 2, 1], [1, 2, 1]))
    y = 50 + np.asarray(noise.draw(np.zeros((4, 128, 160)), KEY))
    found = surveyed(y, noise if given else None)
    np.testing.assert_allclose(found.sigma, 2, rtol=0.1)
    # 35/18 is Σρ² along one side, with ρ = 1, 2/3, 1/6
    expected = y[0].size / (35 / 18) ** 2
    np.testing.assert_allclose(found.num_independent, expected, rtol=0.1)
    middle = found.kernel.shape[0] // 2
    assert found.kernel[middle, middle] == found.kernel.max()


def test_directions_are_orthonormal_and_hold_the_clear_ones_first(signal):
    found = surveyed(noisy(signal), Gaussian(1.0))
    directions = found.directions(2, 4)
    assert directions.shape == (ENERGIES, ENERGIES // 2)
    np.testing.assert_allclose(
        directions.T @ directions, np.eye(ENERGIES // 2), atol=1e-9
    )
    overlap = np.sum(directions[:, :4] * found.basis.vectors[:, :4], axis=0)
    np.testing.assert_allclose(np.abs(overlap), 1, rtol=1e-9)


def test_a_leading_vector_far_from_the_noise_hardly_responds(signal):
    found = surveyed(noisy(signal), Gaussian(1.0))
    pull, push, doubt = found.leading_response(SHAPE[0] * SHAPE[1])
    values = found.basis.values
    np.testing.assert_allclose(
        pull, np.sum(1 / (values[0] ** 2 - values[1:] ** 2)), rtol=1e-4
    )
    assert doubt == pytest.approx(1 / (values[0] ** 2 - values[1] ** 2), rel=1e-4)
    assert 0 < push < 1e-2


def test_very_many_energies_take_more_passes(signal, monkeypatch):
    assert not is_large(signal) and num_passes(signal) == 2
    monkeypatch.setattr(surveys, "LARGE", ENERGIES - 1)
    assert is_large(signal) and num_passes(signal) == 5
