import os
from pathlib import Path

import jax
import numpy as np
import pytest

REAL_DATA = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of measured files, which are not part of the project."""
    folder = Path(os.environ.get("TVJAX_DATA", REAL_DATA)).resolve()
    if not folder.is_dir():
        pytest.skip(f"the measured files are not in {folder}: set TVJAX_DATA")
    return folder


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both precisions, each in JAX's mode for it."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture
def double():
    """JAX's mode for double precision."""
    with jax.enable_x64(True):
        yield
