import h5py
import numpy as np
import pytest

from tests.io.rewriting import read
from tvjax.io import FileError, open_series


def test_the_nexus_signal_is_taken_among_several_stacks(tmp_path):
    with h5py.File(tmp_path / "nexus.h5", "w") as file:
        file["detector/frames"] = np.ones((2, 4, 5))
        file["detector/dark"] = np.zeros((2, 4, 5))
        file["plot/frames"] = h5py.SoftLink("/detector/frames")
        file["plot"].attrs.update(NX_class="NXdata", signal="frames")
    assert read(tmp_path / "nexus.h5").min() == 1


def test_several_stacks_are_named_and_one_can_be_chosen(tmp_path):
    path = tmp_path / "several.h5"
    with h5py.File(path, "w") as file:
        file["sample"] = np.ones((2, 4, 5))
        file["reference"] = np.zeros((3, 4, 5))
    with pytest.raises(FileError, match="/reference .*, /sample .*--dataset"):
        open_series(path)
    assert len(read(path, dataset="sample")) == 2
    with pytest.raises(
        FileError, match="no images at /other: choose one of /reference"
    ):
        open_series(path, dataset="other")


def test_a_file_without_images_is_refused(tmp_path):
    with h5py.File(tmp_path / "spectrum.h5", "w") as file:
        file["energy"] = np.arange(5.0)
    with pytest.raises(FileError, match="holds no images"):
        open_series(tmp_path / "spectrum.h5")


def test_a_missing_data_file_is_named(master):
    master.with_name("scan_data_000002.h5").unlink()
    with pytest.raises(FileError, match="scan_data_000002.h5, which is missing"):
        open_series(master)


def test_a_missing_filter_is_named_with_the_remedy(master, monkeypatch):
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(FileError, match="filter 32008 .*pip install .*hdf5plugin"):
        open_series(master)
