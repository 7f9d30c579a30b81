import numpy as np
import pytest

from tvjax.simulate import nickel_energies, scale_to_bytes, xanes_stack
from tvjax.stack.noise_levels import noise_levels, temporal_basis_of
from tvjax.stack.pixel_noise import uneven_variance

SHAPE, ENERGIES = (48, 56), 24


@pytest.fixture(scope="module")
def truth():
    scene = xanes_stack(SHAPE, energies=nickel_energies(ENERGIES))
    return np.asarray(scale_to_bytes(scene).truth, float).reshape(ENERGIES, -1)


@pytest.mark.parametrize("sigma", [np.full(ENERGIES, 40.0), np.geomspace(8, 80, 24)])
def test_noise_of_each_energy_is_found(truth, sigma):
    y = truth + sigma[:, None] * np.random.default_rng(0).normal(size=truth.shape)
    found, num_independent = noise_levels(y @ y.T, y.shape[1])
    # 2,700 pixels tell a deviation to 1.4 percent; a faint component beyond the rank of
    # least risk, strongest at the edge, is taken for noise
    np.testing.assert_allclose(found, sigma, rtol=0.1)
    np.testing.assert_allclose(np.mean(found / sigma), 1, rtol=0.02)
    assert num_independent > 0.75 * y.shape[1]


def test_basis_is_that_of_the_stack(truth):
    u, d, vt = np.linalg.svd(truth.T, full_matrices=False)
    vectors, values = temporal_basis_of(truth @ truth.T)
    np.testing.assert_allclose(values[:3], d[:3], rtol=1e-9)
    assert (np.max(vectors, axis=0) == np.max(np.abs(vectors), axis=0)).all()
    np.testing.assert_allclose(
        np.abs(np.sum(vectors[:, :3] * vt[:3].T, axis=0)), 1, rtol=1e-9
    )


def test_even_noise_is_not_called_uneven_and_uneven_noise_is_found():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(ENERGIES, *SHAPE))
    shade = np.broadcast_to(np.linspace(0.5, 1.5, SHAPE[1]), SHAPE)
    none = z[:0]
    assert uneven_variance(none, np.sum(z**2, axis=0), ENERGIES, None) is None
    power = np.sum(shade * z**2, axis=0)
    found = uneven_variance(none, power, ENERGIES, None)
    assert np.mean((found / shade - 1) ** 2) ** 0.5 < 0.1
    mask = rng.random(SHAPE) < 0.8
    found = uneven_variance(none, np.where(mask, power, 0), ENERGIES, mask)
    assert np.mean((found / shade - 1)[mask] ** 2) ** 0.5 < 0.12
