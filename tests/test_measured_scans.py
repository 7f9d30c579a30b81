"""Scans from real detectors, denoised from file to file with nothing set by hand."""

import fabio
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax import denoise, solve
from tvjax.filters import local_mean
from tvjax.io import create_series, open_series
from tvjax.pipeline import denoise_files
from tvjax.settings import Settings

pytestmark = pytest.mark.real
# The strengths that judge the chosen one, which is in their middle.
FACTORS = np.geomspace(0.35, 2.8, 7)


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


@pytest.mark.slow
def test_pilatus_6m_cbf(data, tmp_path):
    source = data / "thaumatin_i24_pilatus6m/thau_3_2_0003.cbf.bz2"
    check(source, tmp_path / "thau_3_2_0003.cbf")


@pytest.mark.slow
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


def cut(data, num_frames):
    """Frames of a small molecule, a part with reflections of all strengths."""
    pattern = str(data / "lcysteine_i19_pilatus2m/l-cyst_01_#####.cbf.bz2")
    with open_series(pattern) as series:
        frames = list(series.frames(0, num_frames))
    part = np.s_[640:896, 560:816]
    mask = np.all([frame.mask for frame in frames], axis=0)[part]
    y = np.stack([np.where(mask, frame.data[part], 0) for frame in frames])
    return y, mask & np.all(y >= 0, axis=0)


@pytest.mark.parametrize("num_frames", [pytest.param(1, marks=pytest.mark.slow), 10])
def test_the_strength_of_measured_counts_is_steady_and_right(data, num_frames):
    frames, mask = cut(data, num_frames)
    y = frames.sum(0)
    found = [
        denoise(y, mask=mask, protect=False, tol=0.1, key=jax.random.key(k))
        for k in range(2)
    ]
    alphas = np.asarray([result.alpha for result in found])
    # another key moves it by less than the data leave unknown
    assert alphas.max() < 1.15 * alphas.min()
    assert all(result.noise.gain == 1 and result.alpha_error < 0.3 for result in found)
    # photons dealt out to two halves are independent measurements: the strength chosen
    # on the one is, against the other, as good as the best of a grid
    first = np.random.default_rng(0).binomial(y, 0.5)
    alpha = float(denoise(first, mask=mask, protect=False, tol=0.1).alpha)
    level = np.maximum(local_mean(jnp.asarray(y / 2, float)[None])[0], 0.01)

    @jax.jit
    def error(strength):
        image = solve(first.astype(np.float32), strength, mask=mask, tol=1e-3).image
        return jnp.sum(jnp.where(mask, (image - (y - first)) ** 2 / level, 0))

    errors = [float(error(np.float32(alpha * factor))) for factor in FACTORS]
    assert errors[len(FACTORS) // 2] < 1.01 * min(errors)
