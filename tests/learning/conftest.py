import pytest

from tests.learning.patterns import CENTRE, counts
from tvjax.learning import TrainingSeries


@pytest.fixture(scope="package")
def series():
    """Six frames with a gap, of a two-fold symmetry."""
    frames, mask = counts(6, 2.0)
    return TrainingSeries.of(frames, group="friedel", centre=CENTRE, mask=mask)
