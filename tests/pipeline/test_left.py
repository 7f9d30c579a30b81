import h5py
import numpy as np
import pytest

from tvjax.io import open_series, save_series, series_of
from tvjax.noise import Poisson
from tvjax.pipeline import denoise_files
from tvjax.pipeline.frames_outcome import DenoisedFrames
from tvjax.pipeline.left import leave
from tvjax.settings import Settings


@pytest.fixture
def counts():
    frames = np.random.default_rng(0).poisson(1.0, (9, 40, 50)).astype(np.uint16)
    frames[:, 3] = 2**16 - 1
    frames[4, 20, 20] = 900
    return frames


@pytest.mark.parametrize("number", [3, 9])  # as many as the sample, and more
@pytest.mark.parametrize("name", ["clean.h5", "clean_master.h5", "clean_####.tif"])
def test_a_strength_of_zero_leaves_every_count(tmp_path, counts, name, number):
    raw = tmp_path / "raw_master.h5"
    save_series(raw, series_of(counts[:number]))
    outcome = denoise_files(raw, tmp_path / "out" / name, Settings(alpha=0.0))
    with open_series(str(tmp_path / "out" / name)) as series:
        frames = list(series.frames())
    assert len(frames) == number
    for frame, before in zip(frames, counts, strict=False):
        np.testing.assert_array_equal(frame.mask, before < 2**16 - 1)
        np.testing.assert_array_equal(
            frame.data[frame.mask], outcome.scale * before[frame.mask]
        )
    assert {record.alpha for record in outcome.records} == {0.0}
    assert all(record.converged for record in outcome.records)
    assert outcome.tally.counts_in == outcome.tally.counts_out


def test_floats_are_left_as_well(tmp_path):
    frames = np.random.default_rng(0).normal(5, 1, (7, 40, 50)).astype(np.float32)
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["images"] = frames
    denoise_files(tmp_path / "raw.h5", tmp_path / "clean.h5", Settings(alpha=0.0))
    with h5py.File(tmp_path / "clean.h5") as file:
        np.testing.assert_array_equal(file["images"], frames)


def test_frames_that_are_left_have_what_files_need_of_denoised_ones(counts):
    found = leave(
        counts,
        noise=Poisson(),
        alpha=0.0,
        mask=np.ones(counts.shape, bool),
        per_frame=False,
        weights=None,
        repeats=False,
        protect=False,
    )
    assert isinstance(found, DenoisedFrames)
    assert found.image is counts
    assert found.alpha == 0 and not found.at_bound
    assert found.converged.all() and not found.relative_gap.any()
