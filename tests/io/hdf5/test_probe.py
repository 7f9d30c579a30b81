import subprocess
import sys

import h5py
import numpy as np

from tvjax.io.hdf5 import probe


def asked(*paths):
    names = "".join(f"{path}\n" for path in paths)
    run = subprocess.run(
        [sys.executable, "-P", probe.__file__],
        input=names,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return run.stdout.split()


def test_each_file_has_an_answer_whatever_it_is(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file
        for _ in range(200):
            group = group.create_group("g")
        file["ring"] = file
        file["names"] = ["a", "b"]
        file["data"] = np.ones(3)
        file["data"].attrs["x"] = h5py.Empty("f4")
    (tmp_path / "b.h5").write_bytes(b"no HDF5")
    paths = [tmp_path / name for name in ("a.h5", "b.h5", "none.h5")]
    assert asked(*paths) == ["well"] * 3


def test_files_are_not_locked_for_long(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.ones(3)
    assert asked(tmp_path / "a.h5") == ["well"]
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["more"] = 1
