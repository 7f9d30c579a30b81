import h5py
import numpy as np
import pytest

from tvjax.io import FileError, open_series
from tvjax.io.hdf5.metadata import read_metadata
from tvjax.io.hdf5.values import read_number, read_values


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as opened:
        yield opened


def test_values_are_read_whole_and_in_part(file):
    file["x"] = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(read_values(file["x"]), file["x"][()])
    assert np.array_equal(read_values(file["x"], (1, slice(0, 2))), file["x"][1, 0:2])


def test_one_number_is_a_number_and_all_else_is_none(file):
    file["one"], file["two"], file["text"] = np.float32([1.5]), [1, 2], "a"
    file["none"] = h5py.Empty("f4")
    found = [read_number(file[name]) for name in ("one", "two", "text", "none")]
    assert found == [1.5, None, None, None]


def test_2_34_angles_are_read_as_two(file):
    omega = file.create_dataset("omega", (2**34,), "f8", chunks=(64,))
    omega[:2] = 1.0, 1.5
    with pytest.raises(FileError, match="claims 137 GB of values at /omega"):
        read_values(omega)
    known = read_metadata(file)
    assert (known.start_angle, known.angle_increment) == (1.0, 0.5)


def test_values_in_a_device_are_refused(file):
    raw = file.create_dataset("raw", (8,), "u1", external=[("/dev/zero", 0, 8)])
    with pytest.raises(FileError, match="/dev/zero is a pipe or a device"):
        read_values(raw)


def test_a_mask_that_shows_itself_is_a_sentence(tmp_path):
    layout = h5py.VirtualLayout((24, 20), "u4")
    layout[...] = h5py.VirtualSource(".", "/pixel_mask", (24, 20))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.ones((2, 24, 20), np.uint32)
        file.create_virtual_dataset("pixel_mask", layout)
    with pytest.raises(FileError, match="virtual images that show themselves"):
        open_series(tmp_path / "a.h5")
