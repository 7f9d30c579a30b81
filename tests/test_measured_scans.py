"""Scans from real detectors, denoised from file to file with nothing set by hand."""

import fabio
import numpy as np
import pytest

from tvjax.io import create_series, open_series
from tvjax.pipeline import denoise_files
from tvjax.settings import Settings

pytestmark = pytest.mark.real


def check(source, output, frames=None):
    """Denoise and compare what was written with the input."""
    outcome = denoise_files(source, output, Settings(frames=frames))
    assert all(record.converged for record in outcome.records)
    assert all(record.alpha > 0 for record in outcome.records)
    assert outcome.tally.counts_out == pytest.approx(outcome.tally.counts_in, rel=1e-3)
    with open_series(source) as before, open_series(output) as after:
        assert after.denoised_by
        first = before.frames(0, len(outcome.records))
        for old, new in zip(first, after.frames(), strict=True):
            np.testing.assert_array_equal(new.mask, old.mask)
    with fabio.open(str(output)) as image:
        assert image.nframes == len(outcome.records)
        np.testing.assert_array_equal(before.invalid_values.valid(image.data), old.mask)


@pytest.mark.slow
def test_eiger_9m_hdf5(data, tmp_path):
    source = data / "eiger9m_biocat_h5/vac_007_data_000001.h5"
    check(source, tmp_path / source.name, frames="0:1")


def test_pilatus_6m_cbf(data, tmp_path):
    source = data / "thaumatin_i24_pilatus6m/thau_3_2_0003.cbf.bz2"
    check(source, tmp_path / "thau_3_2_0003.cbf")


def test_summed_frames_of_a_small_molecule(data, tmp_path):
    pattern = str(data / "lcysteine_i19_pilatus2m/l-cyst_01_#####.cbf.bz2")
    with open_series(pattern) as series:
        frames = list(series.frames(0, 10))
        total = np.where(
            frames[0].mask, sum(frame.data for frame in frames), frames[0].data
        )
        summed = tmp_path / "summed.cbf"
        with create_series(summed, series, stop=1, scale=1, denoised=False) as writer:
            writer.write(total, frames[0])
            writer.finish()
    check(summed, tmp_path / "clean.cbf")
