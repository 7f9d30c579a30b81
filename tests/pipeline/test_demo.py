from types import SimpleNamespace

import numpy as np
import pytest

from tvjax.io import open_stack
from tvjax.pipeline.demo import cathode, save_cathode, scan_series, stack_errors
from tvjax.simulate import Detector, Scan

SCAN = Scan(detector=Detector(num_columns=40, module_rows=30, pixel_size=1.5))


def test_series_yields_the_frames_of_the_scan_in_order():
    series = scan_series(SCAN)
    frames = list(series.frames(3, 5))
    assert [frame.index for frame in frames] == [3, 4]
    for frame in frames:
        np.testing.assert_array_equal(frame.data, SCAN.counts(frame.index))
        np.testing.assert_array_equal(frame.mask, SCAN.mask)
    assert (series.num_frames, *series.shape) == (180, *SCAN.mask.shape)
    assert series.dtype == frames[0].data.dtype


def test_metadata_is_in_the_units_of_files():
    metadata = scan_series(SCAN).metadata
    assert metadata.distance == 0.05211
    assert metadata.pixel_size == (0.0015, 0.0015)
    assert metadata.angle_increment == 1.0


def test_errors_of_a_stack_at_each_rank_are_those_of_what_was_written(tmp_path):
    scene = cathode(6)
    raw, flat, _ = save_cathode(tmp_path, scene)
    with open_stack(raw) as sample, open_stack(flat) as light:
        noisy = -np.log(np.maximum(sample[:], 1) / light[:])
    mask = np.zeros(scene.truth.shape[1:], bool)
    mask[3:-3] = True
    sigma = np.linspace(0.1, 0.2, 6)
    left, values, right = np.linalg.svd(noisy.reshape(6, -1), full_matrices=False)
    images = (values[:, None] * right).reshape(noisy.shape)
    components = SimpleNamespace(sigma=sigma, spectra=left.T, denoised=images)
    errors = stack_errors(scene, components, mask)

    def error(stack):
        return np.mean(((stack - scene.truth)[:, mask] / sigma[:, None]) ** 2)

    # but for the bias of the logarithm
    assert errors.before == pytest.approx(error(noisy), rel=0.02)
    expected = [error(np.tensordot(left[:, :k], images[:k], 1)) for k in range(1, 7)]
    np.testing.assert_allclose(errors.by_rank, expected, rtol=1e-4)
    assert errors.gain(2) == pytest.approx(10 * np.log10(errors.before / expected[1]))
