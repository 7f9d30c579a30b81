import h5py
import numpy as np
import pytest

from tvjax.io import create_series, open_series
from tvjax.io.hdf5.declared import find_declared
from tvjax.io.hdf5.layout import FrameDataset
from tvjax.io.hdf5.ownership import find_ownership
from tvjax.io.invalid_values import Declared

IMAGES = np.random.default_rng(0).poisson(5.0, (3, 40, 50))


def declared(file, name="/entry/data/data"):
    datasets = [FrameDataset(name, file[name], 3, None)]
    return find_declared(datasets, find_ownership(file, datasets))


def write(path, images=IMAGES, **fields):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = images
        for name, value in fields.items():
            file[f"entry/instrument/detector/{name}"] = value
    return path


def test_the_depth_of_an_image_is_not_that_of_a_readout(tmp_path):
    path = write(tmp_path / "a.h5", bit_depth_readout=16, bit_depth_image=32)
    with h5py.File(path) as file:
        found = declared(file)
    assert (found.bit_depth, found.readout_depth) == (32, 16)


@pytest.mark.parametrize("value", [0, -1, 1000, np.nan])
def test_numbers_that_make_no_sense_say_nothing(tmp_path, value):
    with h5py.File(write(tmp_path / "a.h5", bit_depth_image=value)) as file:
        assert declared(file) == Declared()
    if np.isnan(value):
        with h5py.File(write(tmp_path / "a.h5", underload_value=value)) as file:
            assert declared(file).lowest is None


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
@pytest.mark.parametrize("value", [np.float32(-10), np.array([-10.0])])
def test_attributes_of_the_images_name_marks(tmp_path, name, value):
    with h5py.File(write(tmp_path / "a.h5"), "r+") as file:
        file["entry/data/data"].attrs[name] = value
        assert declared(file).marks == ((-10, -10),)


@pytest.mark.parametrize("value", ["none", np.nan, [1, 2]])
def test_attributes_that_name_no_number_say_nothing(tmp_path, value):
    with h5py.File(write(tmp_path / "a.h5"), "r+") as file:
        file["entry/data/data"].attrs["_FillValue"] = value
        assert declared(file).marks == ()


def test_what_was_never_written_is_no_reading(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("entry/data/data", (3, 4, 5), "i4", fillvalue=-7)
        assert declared(file).marks == ((-7, -7),)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("entry/data/data", (3, 4, 5), "u4", fillvalue=1)
        assert declared(file).marks == ()


def test_below_the_underload_value_is_no_reading(tmp_path):
    images = IMAGES.astype(np.int32) - 10
    images[:, :, :10] = -1000
    path = write(tmp_path / "a.h5", images, underload_value=np.int32(-100))
    with open_series(path) as series:
        assert [frame.mask.mean() for frame in series.frames()] == [0.8] * 3
        with create_series(tmp_path / "clean.h5", series) as writer:
            for frame in series.frames():
                writer.write(np.abs(frame.data), frame)
            writer.finish()
    with h5py.File(tmp_path / "clean.h5") as file:
        assert file["entry/instrument/detector/underload_value"][()] == -1600


def test_a_fill_value_of_the_output_is_that_of_its_marks(tmp_path):
    images = IMAGES.astype(np.uint16)
    images[:, :, :10] = 80
    path = write(tmp_path / "a.h5", images)
    with h5py.File(path, "r+") as file:
        file["entry/data/data"].attrs["_FillValue"] = np.uint16(80)
    with open_series(path) as series:
        with create_series(tmp_path / "clean.h5", series) as writer:
            for frame in series.frames():
                writer.write(np.full(frame.data.shape, 5.0), frame)
            writer.finish()
    # five counts are stored as 80
    with open_series(tmp_path / "clean.h5") as series:
        assert [frame.mask.mean() for frame in series.frames()] == [0.8] * 3
        assert series.warnings == ()
