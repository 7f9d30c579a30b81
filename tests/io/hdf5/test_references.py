import h5py
import numpy as np
import pytest

from tests.io.rewriting import rewrite


@pytest.fixture
def referring(tmp_path, counts):
    """A file in which objects refer to others in every way there is."""
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("entry/data/data", data=counts)
        for axis, name in enumerate(("time", "y", "x")):
            scale = file.create_dataset(f"entry/data/{name}", data=np.arange(9.0))
            scale.make_scale(name)
            images.dims[axis].attach_scale(scale)
        images.dims[0].label = "frame"
        other = file.create_dataset("entry/other", data=np.arange(12).reshape(3, 4))
        pair = np.dtype([("to", h5py.ref_dtype), ("weight", "f8")])
        images.attrs.create("pair", np.array((other.ref, 2.5), pair), dtype=pair)
        images.attrs["place"] = np.array((1, 2.0), [("row", "i4"), ("column", "f8")])
        images.attrs["to"] = other.ref
        images.attrs["part"] = other.regionref[1:3, 2]
        other.attrs["lost"] = file.create_dataset("gone", data=1).ref
        file["entry/all"] = np.array([images.ref, other.ref], h5py.ref_dtype)
        file["entry/parts"] = np.array([other.regionref[0, :]], h5py.regionref_dtype)
        rows = file.create_dataset("entry/rows", (1,), h5py.vlen_dtype(h5py.ref_dtype))
        rows[0] = np.array([other.ref, images.ref], h5py.ref_dtype)
        images.attrs.create("rows", rows[()], dtype=rows.dtype)
        del file["gone"]
    return path


@pytest.fixture
def copy(referring, tmp_path):
    rewrite(referring, tmp_path / "clean.h5")
    with h5py.File(tmp_path / "clean.h5") as file:
        yield file


def test_the_scales_of_a_copy_are_those_of_the_copy(copy):
    images = copy["entry/data/data"]
    names = [images.dims[axis][0].name for axis in range(3)]
    assert names == ["/entry/data/time", "/entry/data/y", "/entry/data/x"]
    assert images.dims[0].label == "frame"
    ((back, axis),) = copy["entry/data/y"].attrs["REFERENCE_LIST"]
    assert (copy[back].name, axis) == (images.name, 1)


def test_references_lead_to_the_copy(copy):
    images, other = copy["entry/data/data"], copy["entry/other"]
    assert [copy[each] for each in copy["entry/all"]] == [images, other]
    assert [copy[each] for each in copy["entry/rows"][0]] == [other, images]
    assert [copy[each] for each in images.attrs["rows"][0]] == [other, images]
    assert copy[images.attrs["to"]] == other


def test_regions_are_those_of_the_copy(copy):
    images, other = copy["entry/data/data"], copy["entry/other"]
    assert other[images.attrs["part"]].ravel().tolist() == [6, 10]
    assert other[copy["entry/parts"][0]].ravel().tolist() == [0, 1, 2, 3]


def test_compound_attributes_are_kept(copy):
    attributes = copy["entry/data/data"].attrs
    assert attributes["place"].tolist() == (1, 2.0)
    assert attributes["pair"]["weight"] == 2.5
    assert copy[attributes["pair"]["to"]] == copy["entry/other"]


def test_what_is_not_in_the_copy_leaves_an_empty_reference(copy):
    assert not copy["entry/other"].attrs["lost"]


def test_a_region_of_what_was_cut_leaves_an_empty_reference(referring, tmp_path):
    with h5py.File(referring, "a") as file:
        file["entry"].attrs["first"] = file["entry/data/data"].regionref[6]
    rewrite(referring, tmp_path / "cut.h5", stop=3)
    with h5py.File(tmp_path / "cut.h5") as file:
        assert not file["entry"].attrs["first"]
        assert file[file["entry/all"][0]].shape == (3, 20, 30)
