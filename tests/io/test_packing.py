import numpy as np
import pytest

from tvjax.io import packing
from tvjax.io.packing import pack_array, SMALL, unpack_array

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "array",
    [
        RNG.poisson(3, (100, 120)).astype(np.uint32),
        RNG.normal(size=(100, 120)).astype(np.float32),
        np.array([[np.nan, np.inf, -0.0]]),
        RNG.random((3, 50, 60)) > 0.5,
        RNG.normal(size=3),
        np.float64(0.1),
        np.zeros((0, 4)),
    ],
    ids=["counts", "floats", "odd", "mask", "few", "number", "nothing"],
)
def test_arrays_come_back_to_the_bit(array):
    array = np.asarray(array)
    way, content = pack_array(array)
    again = unpack_array(way, content)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()
    again[...] = 0  # it is nobody else's


def test_counts_take_little_room():
    counts = RNG.poisson(3, (1000, 1000)).astype(np.uint32)
    assert counts.nbytes > SMALL
    assert len(pack_array(counts)[1]) < counts.nbytes / 5


def test_other_bytes_are_refused():
    way, content = pack_array(np.arange(6.0))
    with pytest.raises(ValueError, match="40 bytes are no"):
        unpack_array(way, content[:-8])


def test_arrays_come_back_where_only_hdf5_can_compress(monkeypatch):
    counts = RNG.poisson(3, (100, 120)).astype(np.uint32)
    by_itself = pack_array(counts)
    monkeypatch.setattr(packing, "pack", lambda array: None)
    by_hdf5 = pack_array(counts)
    for way, content in (by_itself, by_hdf5):
        np.testing.assert_array_equal(unpack_array(way, content), counts)
