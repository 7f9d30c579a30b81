import numpy as np
import pytest

from tests.io.disk import tiny_disk
from tvjax.io import FileError
from tvjax.io.spool import Spool


def test_images_return_to_the_bit_and_leave_nothing(tmp_path):
    images = np.random.default_rng(0).normal(size=(3, 20, 30)).astype(np.float32)
    spool = Spool(tmp_path / "clean" / "out.h5", (20, 30))
    for image in images:
        spool.append(image)
    for index in (2, 0, 1):
        np.testing.assert_array_equal(spool[index], images[index])
    assert not list((tmp_path / "clean").iterdir())
    spool.close()


def test_a_full_disk_gets_a_sentence(tmp_path):
    spool = Spool(tmp_path / "out.h5", (20, 30))
    noise = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    full = pytest.raises(FileError, match="out.h5 cannot be written, the disk is full")
    with full, tiny_disk():
        for _ in range(9):
            spool.append(noise)
    spool.close()
