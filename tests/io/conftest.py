import fabio
import numpy as np
import pytest

from tests.io.masters import MASKED, write_master
from tests.io.rewriting import rewrite

CBF_TEXT = """###CBF: VERSION 1.5\r
\r
data_raw_00001\r
_array_data.header_convention "PILATUS_1.2"\r
_array_data.header_contents\r
;\r
# Detector: PILATUS 2M\r
# Count_cutoff 388705 counts\r
# Start_angle -145.0000 deg.\r
;\r
loop_\r
_array_intensities.array_id\r
_array_intensities.gain\r
_array_intensities.overload\r
_array_intensities.undefined_value\r
ARRAY1 1.0 388705 -1\r
_array_data.data\r
;\r
"""


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


@pytest.fixture
def clean(master, tmp_path):
    """The master read and written as a denoised one."""
    output = tmp_path / "clean" / "clean_master.h5"
    rewrite(master, output)
    return output


@pytest.fixture
def cbf(tmp_path, counts):
    """A denoised CBF series made from the header of a raw one."""
    image = counts[0].astype(np.int32)
    image[counts[0] == MASKED] = -1
    image[5, 5] = -2
    raw = tmp_path / "raw_00001.cbf"
    fabio.cbfimage.CbfImage(data=image).write(str(raw))
    _, section, rest = raw.read_bytes().partition(b"--CIF-BINARY-FORMAT-SECTION--")
    raw.write_bytes(CBF_TEXT.encode() + section + rest)
    rewrite(raw, tmp_path / "clean.cbf")
    return raw, tmp_path / "clean.cbf"


@pytest.fixture
def image():
    """An image of counts with gaps and a bad pixel, as a signed detector marks them."""
    image = np.random.default_rng(1).poisson(3.0, (20, 30)).astype(np.int32)
    image[9:11] = -1
    image[2, 3] = -2
    return image
