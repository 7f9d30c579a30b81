from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.pipeline.test_stack import Truncate
from tvjax.cli import app
from tvjax.io import save_series, series_of
from tvjax.noise import Poisson
from tvjax.pipeline import frames as scans, stack as stacks


class Result(NamedTuple):
    image: np.ndarray
    alpha: float
    noise: object
    gap: float = 1e-5
    converged: bool = True
    curve: object = None
    at_bound: bool = False


@pytest.fixture
def tvjax():
    """Run the command in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(text) for text in arguments])


@pytest.fixture
def halve(monkeypatch):
    """Let a stand-in denoise, and return what it is asked."""
    calls = []

    def denoise(y, **options):
        calls.append(options)
        return Result(y / 2, options["alpha"] or 0.25, options["noise"] or Poisson())

    monkeypatch.setattr(scans, "_default_denoise", lambda: denoise)
    return calls


@pytest.fixture
def truncate(monkeypatch):
    """Let a stand-in denoise."""
    fit = Truncate()
    monkeypatch.setattr(stacks, "_default_fit", lambda: fit)
    return fit


@pytest.fixture
def scan(tmp_path):
    counts = np.random.default_rng(0).poisson(2.0, (4, 40, 50)).astype(np.uint32)
    counts[:, 9:11] = 2**32 - 1
    save_series(tmp_path / "raw" / "scan_master.h5", series_of(counts))
    return tmp_path / "raw" / "scan_master.h5"
