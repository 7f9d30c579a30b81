import numpy as np
import pytest

from tests.pipeline.stand_ins import MASKED, save_frames
from tvjax.simulate import nickel_energies, xanes_stack


@pytest.fixture
def counts():
    """Nine frames of counts, two rows of which are invalid."""
    counts = np.random.default_rng(0).poisson(2.0, (9, 20, 30)).astype(np.uint32)
    counts[:, 9:11] = MASKED
    return counts


@pytest.fixture
def scan(tmp_path, counts):
    """A file with these frames."""
    return save_frames(tmp_path / "raw" / "scan_master.h5", counts)


@pytest.fixture(scope="session")
def scene():
    """A cathode particle at 24 energies."""
    return xanes_stack(
        (40, 44), energies=nickel_energies(24), num_states=3, arrangement="gradient"
    )
