import h5py
import numpy as np
import pytest

from tests.io.rewriting import rewrite
from tvjax.io.encoding import Encoding
from tvjax.io.hdf5.corrections import CORRECTIONS


def test_an_earlier_scale_is_carried_on(master, tmp_path):
    with h5py.File(master, "r+") as file:
        file["entry/instrument/detector/data_scale_factor"] = 0.1
    rewrite(master, tmp_path / "clean_master.h5")
    with h5py.File(tmp_path / "clean_master.h5") as file:
        factor = file["entry/instrument/detector/data_scale_factor"][()]
    assert factor == 0.1 / 16


@pytest.mark.parametrize("name", ["saturation_value", "underload_value"])
def test_a_limit_is_one_of_stored_values(name):
    encoding = Encoding(np.dtype(np.uint32), 16, None)
    stored = CORRECTIONS[name](np.uint16(5000), encoding)
    assert stored == encoding.limit(np.asarray(5000))
    # 16 bits do not hold it
    assert stored.dtype == np.uint32
    assert CORRECTIONS["bit_depth_image"](np.uint8(16), encoding) == 32
