import os
from pathlib import Path

import pytest

REAL_DATA = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of measured files, which are not part of the project."""
    folder = Path(os.environ.get("TVJAX_DATA", REAL_DATA)).resolve()
    if not folder.is_dir():
        pytest.skip(f"the measured files are not in {folder}: set TVJAX_DATA")
    return folder
