import numpy as np
import pytest

from tests.io.masters import MASKED, write_master


@pytest.fixture
def counts():
    """Seven small frames of counts with a marked gap, as an EIGER stores them."""
    counts = np.random.default_rng(0).poisson(2.0, (7, 20, 30)).astype(np.uint32)
    counts[:, 9:11] = MASKED
    return counts


@pytest.fixture
def master(tmp_path, counts):
    """A DECTRIS master with three frames in a data file, written without tvjax."""
    folder = tmp_path / "raw"
    folder.mkdir()
    return write_master(folder / "scan_master.h5", counts)
