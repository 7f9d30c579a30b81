import os

import h5py
import numpy as np
import pytest

from tvjax.io import FileError, open_series
from tvjax.io.hdf5.tree import (
    address,
    dataset_at,
    find_dataset,
    find_item,
    group_at,
    join,
    names_in,
    path_of,
    text,
    text_attribute,
    walk,
    walk_datasets,
)


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["far/values"] = np.arange(2)
    with h5py.File(tmp_path / "tree.h5", "w") as file:
        file["a/values"] = np.arange(3)
        file["b/same"] = file["a/values"]
        file["b/soft"] = h5py.SoftLink("/a/values")
        file["b/outside"] = h5py.ExternalLink("other.h5", "/far")
        file["b/lost"] = h5py.ExternalLink("nowhere.h5", "/far")
        file["b/data_000001"] = h5py.ExternalLink("other.h5", "/far/values")
        file["a"].attrs["NX_class"] = np.bytes_("NXdata")
        yield file


def test_each_object_is_met_once_and_links_lead_one_step_outside(file):
    found = [name for name, _ in walk(file)]
    assert found == ["/a", "/a/values", "/b", "/b/outside"]
    assert [name for name, _ in walk_datasets(file)] == ["/a/values"]


def test_an_address_tells_objects_apart_whatever_their_names(file):
    assert address(file["a/values"]) == address(file["b/same"])
    assert address(file["a"]) != address(file["b"])


def test_paths_name_what_they_lead_to(file):
    assert path_of(dataset_at(file, "a/values")) == "/a/values"
    assert path_of(group_at(file, "a")) == join("/", "a") == "/a"
    assert join("/a", "values") == "/a/values"
    assert names_in(group_at(file, "a")) == ["values"]
    assert find_dataset(file, "a/values") == file["a/values"]


@pytest.mark.parametrize("name", ["a", "nothing", "b/lost"])
def test_no_dataset_is_found_where_there_is_none(file, name):
    assert find_dataset(file, name) is None


def test_what_must_be_there_is_an_error_where_it_is_something_else(file):
    with pytest.raises(KeyError, match="a in / is no dataset"):
        dataset_at(file, "a")
    with pytest.raises(KeyError, match="a/values in / is no group"):
        group_at(file, "a/values")


@pytest.mark.parametrize(
    "stored",
    ["Å", "Å".encode(), np.bytes_("Å".encode()), np.array(["Å", "m"])],
)
def test_a_string_is_read_however_it_is_stored(stored):
    assert text(stored) == "Å"


@pytest.mark.parametrize("stored", ["", b"", np.array([], "S1"), h5py.Empty("S1")])
def test_no_string_is_an_empty_one(stored):
    assert text(stored) == ""


def test_an_attribute_that_is_missing_is_an_empty_string(file):
    assert text_attribute(group_at(file, "a"), "NX_class") == "NXdata"
    assert text_attribute(group_at(file, "b"), "NX_class") == ""


def test_a_link_to_a_pipe_is_refused_behind_other_links(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["entry/data/data"] = h5py.ExternalLink("pipe", "/x")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["far"] = h5py.ExternalLink("b.h5", "/entry/data/data")
        file["soft"] = h5py.SoftLink("/far")
        for name in ("far", "/soft"):
            with pytest.raises(FileError, match="pipe is a pipe or a device"):
                find_item(file, name)


def test_links_in_a_ring_lead_nowhere(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["two"] = h5py.SoftLink("/two"), h5py.SoftLink("/one")
        file["own"] = h5py.ExternalLink("a.h5", "/own")
        assert [find_item(file, name) for name in ("one", "two", "own")] == [None] * 3


def test_groups_within_groups_have_an_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.ones((2, 9, 9))
        group = file
        for _ in range(1500):
            group = group.create_group("g")
    with pytest.raises(FileError, match="a.h5 has groups within groups, more than 64"):
        open_series(tmp_path / "a.h5")


def test_a_damaged_object_is_named_and_a_missing_one_is_none(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.ones((2, 9, 9))
        file["entry/log"] = 1.0
        place = h5py.h5o.get_info(file["entry/log"].id).addr
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[place : place + 64] = b"\xff" * 64
    (tmp_path / "a.h5").write_bytes(content)
    with h5py.File(tmp_path / "a.h5") as file:
        assert find_item(file, "entry/none") is None
        with pytest.raises(FileError, match="a.h5 is truncated or damaged at /en"):
            find_item(file, "entry/log")
