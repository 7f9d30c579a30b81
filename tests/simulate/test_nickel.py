import numpy as np
import pytest

from tvjax.simulate import nickel_energies, nickel_spectra
from tvjax.simulate.nickel import EDGE, valences_of

ENERGIES = nickel_energies(40)
FINE = np.arange(8150, 8650, 0.01)


@pytest.fixture(scope="module")
def spectra():
    return nickel_spectra(FINE)


def half_height(spectrum):
    return FINE[np.argmax(spectrum >= 0.5)]


def test_energies_ascend_from_end_to_end_and_are_densest_at_the_edge():
    energies = nickel_energies(117)
    steps = np.diff(energies)
    np.testing.assert_allclose(energies[[0, -1]], [8180, 8562])
    assert len(energies) == 117 and steps.min() > 0
    assert abs(energies[np.argmin(steps)] - 8344.5) < 1  # a step or two from the centre
    assert steps.min() < 0.5 and steps.max() > 9


def test_spectra_are_zero_before_the_edge_and_one_after(spectra):
    # The tail of the arctangent at 50 eV is 1.4 / 50π = 0.0089.
    assert np.abs(spectra[:, FINE < EDGE - 50]).max() < 0.009
    after = spectra[:, (FINE > EDGE + 50) & (FINE < EDGE + 250)]
    # The oscillations average out but for a part of a period.
    np.testing.assert_allclose(after.mean(axis=1), 1, atol=0.01)
    assert np.abs(after - 1).max() < 0.2


def test_spectra_rise_monotonically_to_half_height(spectra):
    for spectrum in spectra:
        rise = spectrum[: np.argmax(spectrum >= 0.5)]
        assert np.all(np.diff(rise) > 0)


def test_edge_energy_rises_with_valence(spectra):
    edges = np.asarray([half_height(spectrum) for spectrum in spectra])
    per_valence = np.diff(edges) / 0.5
    assert np.all((per_valence > 1.5) & (per_valence < 2))
    assert edges[0] > 8339.5 and edges[-1] < 8344.5


@pytest.mark.real
@pytest.mark.parametrize(("name", "state"), [("NiO", 0), ("LiNiO2", 2)])
def test_edges_and_white_lines_are_those_of_measured_oxides(data, spectra, name, state):
    table = data / "xanes_spectra/fxi_ni_reference" / f"ref_{name}.txt"
    energies, measured = np.loadtxt(table).T
    energies *= 1000  # from keV
    rise = energies[np.argmax(measured >= 0.5)]
    # the table has a value every half eV
    assert abs(half_height(spectra[state]) - rise) < 0.6
    line = energies[np.argmax(measured)]
    assert abs(FINE[np.argmax(spectra[state])] - line) < 0.5


def test_spectra_do_not_depend_on_the_grid(spectra):
    np.testing.assert_array_equal(nickel_spectra(FINE[::100]), spectra[:, ::100])
    np.testing.assert_allclose(nickel_spectra(FINE, 3), spectra[::2])


def test_valences_are_spread_evenly_from_two_to_four():
    np.testing.assert_allclose(valences_of(5), [2, 2.5, 3, 3.5, 4])
    np.testing.assert_array_equal(valences_of(1), [2])


@pytest.mark.parametrize(
    ("misuse", "sentence"),
    [
        (lambda: nickel_energies(1), "`num_energies` must be at least 2, got 1"),
        (lambda: nickel_spectra(ENERGIES, 0), "`num_states` must be at least 1, got 0"),
    ],
)
def test_misuse_is_told_in_a_sentence(misuse, sentence):
    with pytest.raises(ValueError, match=sentence):
        misuse()
