import numpy as np
import pytest

from tvjax.io import FileError, read_spectra
from tvjax.io.tables import read_table

XDI = """# XDI/1.0
# Column.1: energy keV
# Column.2: i0
# Column.3: itrans
#-----
8.1  100.0  50.0
8.2  100.0  25.0
"""


def write(tmp_path, text):
    path = tmp_path / "nickel.txt"
    path.write_text(text)
    return path


def test_two_columns_are_a_spectrum(tmp_path):
    (found,) = read_spectra(write(tmp_path, "8300 0.1\n8301 0.3\n"))
    assert found.name == "nickel"
    np.testing.assert_array_equal(found.energies, [8300, 8301])
    np.testing.assert_array_equal(found.values, [0.1, 0.3])


def test_a_raw_scan_becomes_absorption_in_ev(tmp_path):
    (found,) = read_spectra(write(tmp_path, XDI))
    np.testing.assert_allclose(found.energies, [8100, 8200])
    np.testing.assert_allclose(found.values, np.log([2, 4]))


def test_csv_has_a_spectrum_a_column_in_any_order_of_energies(tmp_path):
    text = "energy (keV),NiO,Li Ni O2\n8.4,1,2\n8.3,3,4\n"
    first, second = read_spectra(write(tmp_path, text))
    assert (first.name, second.name) == ("NiO", "Li Ni O2")
    np.testing.assert_allclose(first.energies, [8300, 8400])
    np.testing.assert_array_equal(second.values, [4, 2])


def test_what_is_normalized_goes_before_what_is_raw(tmp_path):
    text = XDI.replace("i0", "normtrans")
    (found,) = read_spectra(write(tmp_path, text))
    np.testing.assert_array_equal(found.values, [100, 100])


def test_a_unit_goes_before_the_size(tmp_path):
    table = read_table(write(tmp_path, "energy_eV mu\n30 1\n40 2\n"))
    assert table.unit == "eV"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no table of numbers"),
        ("8300 1\n8301\n", "is no table of numbers"),
        ("8300\n8301\n", "needs two columns"),
        ("8300 1\n8300 2\n", "has the energy 8300 eV twice"),
        ("8300 1\n8301 nan\n", "values that are no numbers"),
        (XDI.replace("50.0", "0.0"), "values that are no numbers"),
    ],
)
def test_what_is_no_spectrum(tmp_path, text, sentence):
    with pytest.raises(FileError, match=sentence):
        read_spectra(write(tmp_path, text))
