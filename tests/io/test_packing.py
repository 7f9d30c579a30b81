import numpy as np
import pytest

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
    packing, content = pack_array(array)
    again = unpack_array(packing, content)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()
    again[...] = 0  # it is nobody else's


def test_counts_take_little_room():
    counts = RNG.poisson(3, (1000, 1000)).astype(np.uint32)
    assert counts.nbytes > SMALL
    assert len(pack_array(counts)[1]) < counts.nbytes / 5


def test_other_bytes_are_refused():
    packing, content = pack_array(np.arange(6.0))
    with pytest.raises(ValueError, match="40 bytes are no"):
        unpack_array(packing, content[:-8])
