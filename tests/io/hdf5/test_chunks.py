import h5py
import hdf5plugin
import numpy as np
import pytest

from tvjax.io.hdf5 import chunks
from tvjax.io.hdf5.chunks import ImageWriter, pack
from tvjax.io.hdf5.layout import place_of_frame

BITSHUFFLE = hdf5plugin.Bitshuffle(cname="lz4")


def created(folder, shape, dtype, options, axes="EYX"):
    file = h5py.File(folder / "images.h5", "w")
    place = place_of_frame(shape, 0, axes)
    frame = [
        size if isinstance(part, slice) else 1
        for part, size in zip(place, shape, strict=True)
    ]
    return file.create_dataset("x", shape, dtype, chunks=tuple(frame), **options)


def chunk(images, place):
    corner = [0 if isinstance(part, slice) else part for part in place]
    return images.id.read_direct_chunk(tuple(corner))[1]


@pytest.mark.parametrize("dtype", ["uint32", "int32", "float32", "float64", "uint16"])
@pytest.mark.parametrize("shape", [(3, 20, 31), (3, 1065, 1030), (3, 1, 1), (2, 3, 5)])
def test_a_chunk_has_the_bytes_that_hdf5_makes(tmp_path, dtype, shape):
    frame = np.random.default_rng(0).poisson(3.0, shape[1:]).astype(dtype)
    images = created(tmp_path, shape, dtype, BITSHUFFLE)
    images[1] = frame
    packed = pack(frame)
    assert packed is not None and packed.tobytes() == chunk(images, (1, 0, 0))


@pytest.mark.parametrize("axes", ["EYX", "YEX", "YXE", "XYE"])
@pytest.mark.parametrize("options", [BITSHUFFLE, {}, {"compression": "gzip"}])
def test_a_frame_returns_as_it_was(tmp_path, axes, options):
    shape = (4, 20, 31)
    images = created(tmp_path, shape, "int32", options, axes)
    for index in range(2):
        place = place_of_frame(shape, index, axes)
        frame = np.random.default_rng(index).integers(-9, 9, images[place].shape)
        stored = frame.astype("int32")
        turned = axes.index("X") < axes.index("Y")
        ImageWriter(images, axes).write(index, stored.T if turned else stored)
        np.testing.assert_array_equal(images[place], frame)


def test_another_type_is_converted(tmp_path):
    images = created(tmp_path, (2, 20, 31), "int32", BITSHUFFLE)
    ImageWriter(images).write(1, np.full((20, 31), 7.0))
    assert np.all(images[1] == 7)


def test_without_the_library_hdf5_compresses(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_library", lambda: None)
    frame = np.arange(620, dtype=np.uint32).reshape(20, 31)
    assert pack(frame) is None
    images = created(tmp_path, (2, 20, 31), "uint32", BITSHUFFLE)
    ImageWriter(images).write(1, frame)
    np.testing.assert_array_equal(images[1], frame)
