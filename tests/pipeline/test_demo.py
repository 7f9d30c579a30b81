import numpy as np
import pytest

from tests.pipeline.stand_ins import components_of
from tvjax.io import open_stack
from tvjax.pipeline.demo import (
    cathode,
    save_cathode,
    scan_series,
    stack_errors,
    true_errors,
)
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
    components = components_of(noisy, np.ones(mask.shape, bool), 6, sigma=sigma)
    spectra, images = components.spectra, components.denoised
    errors = stack_errors(scene, components, mask)

    def error(stack):
        return np.mean(((stack - scene.truth)[:, mask] / sigma[:, None]) ** 2)

    # but for the bias of the logarithm
    assert errors.before == pytest.approx(error(noisy), rel=0.02)
    expected = [error(np.tensordot(spectra[:k].T, images[:k], 1)) for k in range(1, 7)]
    np.testing.assert_allclose(errors.by_rank, expected, rtol=1e-4)
    assert errors.gain(2) == pytest.approx(10 * np.log10(errors.before / expected[1]))


def test_the_true_error_of_a_frame_that_is_hardly_denoised_is_that_of_its_noise():
    # TV of next to no strength changes nothing: what is left is the noise of the counts
    (found,) = true_errors(SCAN, 0, np.array([1e-4]))
    fair = SCAN.mask & ~SCAN.zingers(0)
    counts, truth = SCAN.counts(0)[fair], SCAN.expected(0)[fair]
    least = np.median(truth) / 2
    weights = 1 / np.maximum(truth, least)
    noise = np.average((counts - truth) ** 2, weights=weights)
    assert found == pytest.approx(noise, rel=1e-2)


def test_references_are_written_with_the_valences_of_the_scene(tmp_path):
    scene = cathode(6)
    _, _, references = save_cathode(tmp_path, scene)
    name, _, valences = references.partition("=")
    assert valences == "2,3,4"
    table = np.loadtxt(name, delimiter=",", skiprows=1)
    np.testing.assert_allclose(table[:, 0], scene.energies)
    # six digits are written
    np.testing.assert_allclose(table[:, 1:].T, scene.spectra, atol=1e-6)
