import functools

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.pipeline.stand_ins import Halve, MASKED, save_frames, Truncate
from tvjax import pipeline
from tvjax.cli import app
from tvjax.pipeline import denoise_files, denoise_stack_files


@pytest.fixture
def tvjax():
    """Run the command in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(text) for text in arguments])


@pytest.fixture
def denoise_by(monkeypatch):
    """Let a stand-in denoise frames."""

    def use(denoise):
        stand_in = functools.partial(denoise_files, denoise=denoise)
        monkeypatch.setattr(pipeline, "denoise_files", stand_in)
        return denoise

    return use


@pytest.fixture
def halve(denoise_by):
    """Let a stand-in denoise frames that halves them."""
    return denoise_by(Halve())


@pytest.fixture
def fit_by(monkeypatch):
    """Let a stand-in denoise stacks."""

    def use(fit):
        stand_in = functools.partial(denoise_stack_files, fit=fit)
        monkeypatch.setattr(pipeline, "denoise_stack_files", stand_in)
        return fit

    return use


@pytest.fixture
def truncate(fit_by):
    """Let a stand-in denoise stacks that truncates them."""
    return fit_by(Truncate())


@pytest.fixture
def scan(tmp_path):
    counts = np.random.default_rng(0).poisson(2.0, (4, 40, 50)).astype(np.uint32)
    counts[:, 9:11] = MASKED
    return save_frames(tmp_path / "raw" / "scan_master.h5", counts)
