"""References of HDF5 1.12, which h5py neither reads nor writes: its library does."""

import ctypes
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.io.rewriting import rewrite
from tvjax.io import open_series
from tvjax.io.hdf5.unknown_types import is_known, known_attributes

FRAMES = np.random.default_rng(0).poisson(5.0, (3, 16, 18)).astype(np.uint32)
SIZE = 64  # of a reference in memory


@pytest.fixture
def library():
    """The library that h5py has loaded."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    found = {line.split()[-1] for line in lines if "/libhdf5-" in line}
    if not found:
        pytest.skip("the library of HDF5 is not found in the memory of this process")
    return ctypes.CDLL(found.pop())


def identifier(number):
    return ctypes.c_int64(number)


def refer(library, group, place):
    """Write a reference to `place` as an attribute and as a dataset of a group."""
    standard = ctypes.c_int64.in_dll(library, "H5T_STD_REF_g")
    scalar = h5py.h5s.create(h5py.h5s.SCALAR)
    here = identifier(group.id.id)
    reference = ctypes.create_string_buffer(SIZE)
    no = identifier(0)
    assert library.H5Rcreate_object(here, place.encode(), no, reference) >= 0
    for create, write, close, name, options in (
        ("H5Acreate2", "H5Awrite", "H5Aclose", b"leads", 2),
        ("H5Dcreate2", "H5Dwrite", "H5Dclose", b"leads", 3),
    ):
        make = getattr(library, create)
        make.restype = ctypes.c_int64
        made = make(here, name, standard, identifier(scalar.id), *[no] * options)
        middle = [] if write == "H5Awrite" else [no] * 3
        done = getattr(library, write)(identifier(made), standard, *middle, reference)
        assert made >= 0 and done >= 0
        getattr(library, close)(identifier(made))


@pytest.fixture
def path(tmp_path, library):
    path = tmp_path / "new.h5"
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = FRAMES
        file["entry/other"] = 5
        file["entry"].attrs["title"] = "kept"
        refer(library, file["entry"], "/entry/other")
        refer(library, file["entry/data"], "/entry/data/data")
    return path


def test_types_that_cannot_be_read_are_known_to_be_such(path):
    with h5py.File(path) as file:
        assert not is_known(file["entry/leads"]) and is_known(file["entry/other"])
        assert known_attributes(file["entry"]) == ["title"]


def test_frames_beside_new_references_are_copied_and_the_loss_is_told(path, tmp_path):
    with open_series(path) as series:
        first, second = series.warnings
    assert "/entry@leads, /entry/data@leads" in first and "leaves them out" in first
    assert "/entry/leads" in second and "/entry/data/leads" in second
    rewrite(path, tmp_path / "o.h5", scale=1)
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_array_equal(file["entry/data/data"][()], FRAMES)
        assert file["entry/other"][()] == 5
        assert dict(file["entry"].attrs) == {"title": "kept"}
        assert {"leads", "other", "data"} <= set(file["entry"])
