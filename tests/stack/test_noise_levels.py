import numpy as np
import pytest

from tvjax.simulate import nickel_energies, scale_to_bytes, xanes_stack
from tvjax.stack.noise_levels import (
    noise_levels,
    num_above_noise,
    temporal_basis_of,
    with_signs,
)

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


def test_greatest_entries_are_made_positive():
    vectors = np.array([[1.0, 0.2], [-3.0, 0.5]])
    np.testing.assert_array_equal(with_signs(vectors), [[-1, 0.2], [3, 0.5]])


def test_noise_alone_has_no_component_and_a_strong_signal_has_one():
    rng, shape = np.random.default_rng(2), (500, 30)
    noise = rng.normal(size=shape)
    values = np.linalg.svd(noise, compute_uv=False)
    assert num_above_noise(values, shape) == 0
    # four times the power at which a component stands out of the noise
    spike = 4 * (30 / 500) ** 0.5 * np.outer(rng.normal(size=500), np.eye(30)[0])
    values = np.linalg.svd(noise + spike, compute_uv=False)
    assert num_above_noise(values, shape) == 1


def test_a_stack_without_noise_has_none_but_rounding():
    row = np.linspace(1, 2, 15)
    found = noise_levels(400 * np.outer(row, row), 400)
    assert (found.sigma > 0).all() and (found.sigma < 1e-6 * row).all()
