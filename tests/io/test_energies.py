import h5py
import numpy as np
import pytest

from tests.io.images import save_tiff
from tests.io.stacks import ENERGIES, frames, write_nxstxm, write_plain
from tvjax.io import FileError, open_stack, series_of
from tvjax.io.energies import read_energies


@pytest.fixture
def data():
    return frames()


@pytest.mark.parametrize(
    ("name", "unit", "scale"),
    [("energy", "keV", 1), ("energy", "eV", 1000), ("energy", "", 1)],
)
def test_energies_are_in_ev(tmp_path, data, name, unit, scale):
    kilo = np.linspace(8.2, 8.6, 5)
    source = write_nxstxm(tmp_path / "a.h5", data, energies=kilo * scale, unit=unit)
    with open_stack(source) as stack:
        np.testing.assert_allclose(stack.energies, 1000 * kilo)


def test_energies_come_from_a_file_a_range_or_a_dataset(tmp_path, data):
    source = write_plain(tmp_path / "raw.h5", data, energies=None)
    (tmp_path / "list.txt").write_text("# keV\n8.2\n8.3\n8.4\n8.5\n8.6\n")
    other = write_plain(tmp_path / "other.h5", data, energies=ENERGIES)
    for wanted, expected in {
        str(tmp_path / "list.txt"): [8200, 8300, 8400, 8500, 8600],
        "8.2:8.6:5": [8200, 8300, 8400, 8500, 8600],
        f"{other}:energy_eV": ENERGIES,
    }.items():
        with open_stack(source, energies=wanted) as stack:
            np.testing.assert_allclose(stack.energies, expected)
    with open_stack(source, axes="EYX", energies="none") as stack:
        assert stack.energies is None


@pytest.mark.parametrize(
    ("energies", "sentence"),
    [
        ([700, 701, 701, 702, 703], "repeats the energy 701 eV, in the frames 1, 2"),
        ([700, 702, 701, 703, 704], "702 eV of frame 1 is followed by 701 eV"),
        ([700, np.nan, 701, 703, 704], "no number as energy of frame 1"),
    ],
)
def test_energies_that_make_no_sense(tmp_path, data, energies, sentence):
    source = write_plain(tmp_path / "raw.h5", data, energies=np.array(energies, float))
    with pytest.raises(FileError, match=sentence):
        open_stack(source)
    with open_stack(source, energies="none") as stack:
        assert stack.energies is None


def test_energies_may_fall(tmp_path, data):
    with open_stack(
        write_plain(tmp_path / "raw.h5", data, energies=ENERGIES[::-1])
    ) as stack:
        np.testing.assert_array_equal(stack.energies, ENERGIES[::-1])


def test_two_lists_of_energies(tmp_path, data):
    source = write_plain(tmp_path / "raw.h5", data)
    with h5py.File(source, "a") as file:
        file["photon_energy"] = ENERGIES + 1
    with pytest.raises(FileError, match="several lists of energies, .*--energies"):
        open_stack(source)
    with open_stack(source, energies=f"{source}:photon_energy") as stack:
        assert stack.energies[0] == 701


def test_frames_in_memory_declare_no_energies(data):
    assert read_energies(series_of(data), None) is None
    assert read_energies(series_of(data), "none") is None


def test_a_range_below_50_is_in_kev(data):
    found = read_energies(series_of(data), "0.7:0.704:5")
    np.testing.assert_allclose(found, [700, 701, 702, 703, 704])


def test_what_only_looks_like_a_range_is_the_name_of_a_file(data):
    with pytest.raises(FileError, match="low:high:5 .*does not exist|low:high"):
        read_energies(series_of(data), "low:high:5")


def test_energies_beside_the_images_go_before_those_elsewhere(tmp_path, data):
    source = write_nxstxm(tmp_path / "raw.h5", data)
    with h5py.File(source, "a") as file:
        del file["entry1/control/energy"]
        file["elsewhere/energy"] = ENERGIES + 50
    with open_stack(source) as stack:
        np.testing.assert_array_equal(stack.energies, ENERGIES)


@pytest.fixture
def gap(tmp_path):
    """Numbered images of which the third is missing."""
    for number in (1, 2, 4, 5):
        image = np.full((4, 5), number, np.float32)
        save_tiff(tmp_path / f"e_{number}.tif", image)
    return str(tmp_path / "e_*.tif")


def test_energies_of_all_numbers_go_to_those_that_are_there(gap, tmp_path):
    np.savetxt(tmp_path / "all.txt", [700, 701, 705, 706, 709])
    for energies, right in (
        ("700:704:5", [700, 701, 703, 704]),
        (str(tmp_path / "all.txt"), [700, 701, 706, 709]),
    ):
        with open_stack(gap, energies=energies) as stack:
            np.testing.assert_array_equal(stack.energies, right)


def test_even_energies_for_frames_with_a_gap_are_refused(gap, tmp_path):
    with pytest.raises(FileError, match="numbers 3 are missing: .* range of all 5"):
        open_stack(gap, energies="700:703:4")
    np.savetxt(tmp_path / "four.txt", [700, 701, 706, 709])
    with open_stack(gap, energies=str(tmp_path / "four.txt")) as stack:
        np.testing.assert_array_equal(stack.energies, [700, 701, 706, 709])
