import os
import time

import h5py
import numpy as np
import pytest

from tvjax.io import FileError, open_series
from tvjax.io.hdf5.opening import open_file


def stuck(path):
    """A file in which HDF5 goes in circles: texts of attributes whose room is zeros."""
    with h5py.File(path, "w") as file:
        file["data"] = np.ones((2, 24, 20), np.uint32)
        file.attrs["title"] = "a crystal of no interest"
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 4096] = bytes(4080)
    path.write_bytes(content)
    return path


def test_a_file_in_which_hdf5_goes_in_circles_is_a_sentence(tmp_path):
    path = stuck(tmp_path / "scan.h5")
    for _ in range(2):  # and the next file is looked at by a new program
        with pytest.raises(FileError, match="scan.h5 is truncated or damaged, so th"):
            open_series(path)
    with h5py.File(tmp_path / "good.h5", "w") as file:
        file["data"] = np.ones((2, 24, 20), np.uint32)
    open_series(tmp_path / "good.h5").close()


def test_a_look_costs_little(tmp_path):
    paths = [tmp_path / f"{n}.h5" for n in range(20)]
    for path in paths:
        with h5py.File(path, "w") as file:
            file["data"] = np.ones((2, 24, 20), np.uint32)
    open_file(paths[0]).close()  # starts the program
    start = time.perf_counter()
    for path in paths:
        open_file(path).close()
    assert time.perf_counter() - start < 20 * 0.1


def test_names_of_any_letters_are_looked_at(tmp_path):
    path = tmp_path / "Messung \u00b5\n\u2713.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.ones((2, 24, 20), np.uint32)
    with open_file(path) as file:
        assert list(file) == ["data"]


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "scan.h5")
    with pytest.raises(FileError, match="is a pipe or a device"):
        open_file(tmp_path / "scan.h5")
