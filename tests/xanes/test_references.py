from functools import partial

import h5py
import hdf5plugin  # noqa: F401, registers the compression of a measured file
import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy.optimize import nnls

from tests.xanes.edges import (
    chemical_map,
    ENERGIES,
    exact,
    fit_references,
    noisy,
    optical_density,
    PIXELS,
    references,
    slope,
)
from tvjax import xanes
from tvjax.xanes import choose_energies, expected_errors


def test_mixtures_are_taken_apart_exactly(dtype):
    # the one has the shape of another test, so that less is compiled
    pixels = (4000,) if dtype == np.float32 else PIXELS
    coefficients = np.random.default_rng(6).dirichlet([0.5] * 3, pixels)
    coefficients = np.moveaxis(coefficients, -1, 0)
    coefficients.reshape(3, -1)[:, 0] = [0, 1, 0]
    spectra = np.tensordot(references(), coefficients, (0, 0)).astype(dtype)
    fit = fit_references(spectra, references(), sum_to_one=True)
    assert fit.coefficients.dtype == dtype and fit.mask.all()
    np.testing.assert_allclose(fit.coefficients, coefficients, **exact(dtype, 3))
    np.testing.assert_allclose(fit.coefficients.sum(0), np.ones(pixels), **exact(dtype))
    np.testing.assert_allclose(fit.residual, np.zeros(pixels), **exact(dtype))


@pytest.mark.parametrize("num", [3, 6])
def test_active_sets_are_those_of_nnls(double, num):
    # far from any mixture, so that every subset occurs
    spectra = noisy(7, (len(ENERGIES), 100), 1.0) + 0.1
    fit = fit_references(spectra, references(num))
    expected = np.stack([nnls(references(num).T, y)[0] for y in spectra.T], 1)
    np.testing.assert_allclose(fit.coefficients, expected, atol=1e-10)
    np.testing.assert_array_equal(fit.coefficients > 0, expected > 0)
    patterns = {tuple(column) for column in (expected > 0).T}
    assert len(patterns) >= min(2**num - 1, 10)


@pytest.fixture(scope="module")
def noisy_fit():
    """4000 times a mixture in which the second leads; the first two without noise."""
    mixture = np.asarray([0.5, 0.75, 0.7]) @ references()
    spectra = mixture[:, None] + noisy(12, (len(ENERGIES), 4000), 0.02)
    spectra[:, 0] = mixture
    spectra[:, 1] = references()[0] + references()[2]
    # what no reference follows moves no weight, and is taken for noise of 0.02
    strange = np.linalg.qr(np.c_[references().T, np.cos(ENERGIES)])[0][:, -1]
    spectra[:, :2] += 0.02 * np.sqrt(len(ENERGIES) - 3) * strange[:, None]
    return fit_references(spectra, references())


def check_errors(fit, sum_to_one):
    # the deviation of 4000 draws has an error of 1.1 %
    np.testing.assert_allclose(
        np.mean(fit.errors, axis=1), np.std(fit.coefficients[:, 2:], axis=1), rtol=0.04
    )
    np.testing.assert_allclose(np.mean(fit.sigma**2) ** 0.5, 0.02, rtol=0.01)
    planned = expected_errors(
        references(), np.arange(len(ENERGIES)), 0.02, sum_to_one=sum_to_one
    )
    at_one = fit.errors[:, 7] * 0.02 / fit.sigma[7]
    np.testing.assert_allclose(at_one, planned, rtol=1e-4)


def test_errors_are_the_scatter_of_the_coefficients(noisy_fit):
    check_errors(noisy_fit, sum_to_one=False)


def test_errors_are_the_scatter_of_coefficients_that_sum_to_one():
    mixture = np.asarray([0.3, 0.3, 0.4]) @ references()
    spectra = mixture[:, None] + noisy(9, (len(ENERGIES), 4000), 0.02)
    fit = fit_references(spectra, references(), sum_to_one=True)
    check_errors(fit, sum_to_one=True)


def test_fit_has_the_derivatives_of_differences(double):
    # the third coefficient is held at zero
    spectrum = np.asarray([0.6, 0.5, -0.2]) @ references() + 0.01 * np.cos(ENERGIES)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def outcome(y, columns):
        fit = xanes.fit_references(y, columns)
        return jnp.sum(fit.coefficients * jnp.asarray([1.0, 2, 3])) + fit.residual

    gradients = outcome(spectrum, references())[1]
    for index in (3, 30, 40):
        expected = slope(lambda y: outcome(y, references())[0], spectrum, index)
        np.testing.assert_allclose(gradients[0][index], expected, atol=1e-7)
        expected = slope(lambda r: outcome(spectrum, r)[0], references(), (1, index))
        np.testing.assert_allclose(gradients[1][1, index], expected, atol=1e-7)
    # with the third coefficient at zero, its reference does not matter
    assert np.all(gradients[1][2] == 0)


def test_each_pixel_is_fitted_by_itself():
    spectra = references()[0][:, None] + noisy(10, (len(ENERGIES), 6), 0.1)
    fit_one = jax.vmap(lambda y: xanes.fit_references(y, references()), in_axes=1)
    one = jax.device_get(fit_one(spectra))
    expected = [nnls(references().T, y)[0] for y in spectra.T]
    # single precision, times the condition of the references of 40
    np.testing.assert_allclose(one.coefficients, expected, atol=1e-4)


def test_what_cannot_be_fitted_is_refused():
    good, spectra = references(), np.ones((len(ENERGIES), 2))
    twice = np.stack([good[0], good[1], good[0] + good[1]])
    for columns, message in (
        (good.T, "`references` must be one spectrum a row, of 84 energies, got shape"),
        (twice, "3 `references` are mixtures of each other at these 84 energies"),
        (good * np.nan, "`references` must be finite"),
        (references(9), "at most 8 for a fit without negative coefficients, got 9"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_references(spectra, columns)
    with pytest.raises(ValueError, match="3 energies leave nothing .* give `sigma`"):
        fit_references(spectra[:3], good[:, 36:39])


@pytest.fixture(scope="module")
def fit():
    """A pure pixel, one that is mixed, one that is thick, and one that is empty."""
    coefficients = np.asarray([[1, 0.2, 0, 0], [0, 0.6, 0.5, 0], [0, 0.2, 1.5, 0]])
    return fit_references(references().T @ coefficients, references(), sigma=0.01)


def test_the_leading_phase_and_the_mean_valence_are_those_of_the_mixture(fit):
    found = chemical_map(fit, [2.0, 3.0, 4.0])
    np.testing.assert_array_equal(found.phase, [0, 1, 2, -1])
    np.testing.assert_array_equal(found.mask, [True, True, True, False])
    np.testing.assert_allclose(found.valence, [2, 3, 3.75, 0], atol=1e-5)
    assert np.all(found.confidence[:3] > 0.99) and found.confidence[3] == 0.5
    assert chemical_map(fit).valence is None


def test_confidence_is_how_often_the_leading_phase_leads(noisy_fit):
    found = chemical_map(noisy_fit)
    share = np.mean(found.phase[2:] == 1)
    # a share of 4000 draws has an error of 0.7 %
    np.testing.assert_allclose(found.confidence[0], share, atol=0.025)
    assert 0.7 < share < 0.95
    np.testing.assert_allclose(found.confidence[1], 0.5, atol=1e-3)


def test_the_error_of_the_valence_is_its_scatter(noisy_fit):
    found = chemical_map(noisy_fit, [2.0, 3.0, 4.0])
    # 1.1 % of 4000 draws, and second order in errors of some percent
    np.testing.assert_allclose(
        np.mean(found.valence_error[2:]), np.std(found.valence[2:]), rtol=0.05
    )


def test_a_map_of_one_reference_or_of_other_valences_is_refused(fit):
    with pytest.raises(ValueError, match="`valences` must be one per reference, 3"):
        chemical_map(fit, [2.0])
    with pytest.raises(ValueError, match="at least two references, got 1"):
        chemical_map(fit._replace(coefficients=fit.coefficients[:1]))


@pytest.mark.real
def test_measured_iron_is_a_mixture_of_its_end_members(data):
    folder = data / "stxm_fe_als"
    with h5py.File(folder / "71214078_aligned.h5") as file:
        stack, light = file["stack"][:, ::2, ::2], file["i0"][:, 1]
        energies = file["energy_eV"][:]
    ends = [
        np.loadtxt(folder / f"71214078_{name}.t")[:, 1]
        for name in ("oxidized", "reduced")
    ]
    density = optical_density(stack, light)
    assert density.mask.all()
    # the window that holds the sample absorbs as well: a constant is a reference
    fit = fit_references(density.density, np.stack([*ends, np.ones(len(energies))]))
    coefficients = np.asarray(fit.coefficients[:2])
    assert np.mean((coefficients >= 0) & (coefficients <= 1)) > 0.97
    thick = coefficients.sum(0) > 0.3
    signal = np.std(density.density, axis=0)
    assert np.median(fit.residual[thick] / signal[thick]) < 0.4
    design = choose_energies(np.stack(ends), energies, 2)
    assert np.all((design.energies > 706) & (design.energies < 711))
