from dataclasses import replace

import numpy as np
import pytest

from tvjax.simulate import Detector, diffraction_image, Scan
from tvjax.simulate.diffraction import MASKED

DETECTOR = Detector(
    num_columns=120, module_rows=60, pixel_size=0.6, num_dead=4, num_noisy=2
)
SCAN = Scan(detector=DETECTOR, num_zingers=0)
FRAME = 40


def test_every_crossing_lies_on_the_ewald_sphere():
    hkl, omega, ray, _ = SCAN._crossings()
    reflections = SCAN.crystal.reflections()
    place = {tuple(index): n for n, index in enumerate(reflections.hkl.tolist())}
    vector = reflections.vector[[place[tuple(index)] for index in hkl.tolist()]]
    cosine, sine = np.cos(np.deg2rad(omega)), np.sin(np.deg2rad(omega))
    x, y, z = vector.T
    turned = np.stack([x, cosine * y - sine * z, sine * y + cosine * z], axis=1)
    beam = np.asarray([0, 0, 1 / SCAN.wavelength])
    np.testing.assert_allclose((turned + beam) * SCAN.wavelength, ray, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(ray, axis=1), 1)


def test_fine_frames_sum_to_the_coarse_frame():
    coarse = SCAN.spots(FRAME)
    fine = replace(SCAN, omega_step=0.1, num_frames=1800)
    total = sum(
        fine.spots(frame).counts.sum() for frame in range(10 * FRAME, 10 * FRAME + 10)
    )
    # Each frame leaves out what is below 0.001 counts in it.
    np.testing.assert_allclose(total, coarse.counts.sum(), rtol=1e-4)


def test_spots_hold_their_counts_in_the_truth():
    spots = SCAN.spots(FRAME)
    rows, columns = DETECTOR.shape
    inside = (spots.y > 7) & (spots.y < rows - 8)
    inside &= (spots.x > 7) & (spots.x < columns - 8)
    brightest = np.argmax(np.where(inside, spots.counts, 0))
    alone = SCAN.expected(FRAME) - replace(SCAN, brightness=0.0).expected(FRAME)
    y, x = (np.rint(c[brightest]).astype(int) for c in (spots.y, spots.x))
    near = np.hypot(spots.y - y, spots.x - x) < 14
    assert near.sum() == 1, "the brightest spot must stand alone"
    box = alone[y - 6 : y + 7, x - 6 : x + 7]
    np.testing.assert_allclose(box.sum(), spots.counts[brightest], rtol=1e-6)
    index = np.arange(-6, 7)
    centroid = y + np.sum(box * index[:, None]) / box.sum()
    np.testing.assert_allclose(centroid, spots.y[brightest], atol=1e-6)


def test_background_has_the_level_asked_for():
    scan = replace(SCAN, brightness=0.0, background=2.5, beam_stop=0.01)
    np.testing.assert_allclose(scan.expected(0).mean(), 2.5, rtol=1e-3)


def test_the_beam_stop_shades_the_beam():
    y, x = (int(round(c)) for c in DETECTOR.beam_centre)
    assert SCAN.expected(FRAME)[y, x] < 1e-3


def test_counts_are_poisson_about_the_truth():
    truth = SCAN.expected(FRAME)
    draws = np.stack([replace(SCAN, seed=n).counts(FRAME) for n in range(200)])
    draws, truth = draws[:, SCAN.mask].astype(float), truth[SCAN.mask]
    lit = truth > 0.05
    draws, truth = draws[:, lit], truth[lit]
    error = 4 / np.sqrt(draws.size)  # four standard errors
    assert abs(np.mean((draws - truth) / np.sqrt(truth))) < error
    ratio = np.sum((draws - truth) ** 2) / np.sum(draws.shape[0] * truth)
    spread = np.sqrt(np.sum(truth + 2 * truth**2) / draws.shape[0]) / np.sum(truth)
    assert abs(ratio - 1) < 4 * spread


def test_frames_are_reproducible_and_differ():
    first = SCAN.counts(FRAME)
    np.testing.assert_array_equal(first, SCAN.counts(FRAME))
    assert np.any(first != SCAN.counts(FRAME + 1))
    assert np.any(first != replace(SCAN, seed=1).counts(FRAME))


def test_masked_pixels_hold_the_sentinel_and_no_others_do():
    counts = SCAN.counts(FRAME)
    assert counts.dtype == np.uint32
    np.testing.assert_array_equal(counts == MASKED, ~SCAN.mask)
    assert not SCAN.mask[60:97].any()


def test_zingers_add_to_the_pixels_that_they_strike_and_to_no_others():
    scan = replace(SCAN, num_zingers=9)
    excess = scan.counts(FRAME).astype(float) - SCAN.counts(FRAME)
    struck = scan.zingers(FRAME)
    assert struck.sum() == 9
    assert np.all(excess[struck & scan.mask] >= 20)
    assert np.all(excess[~struck] == 0)


def test_pixels_stop_at_saturation():
    scan = replace(SCAN, detector=replace(DETECTOR, saturation=5), brightness=1e5)
    valid = scan.counts(FRAME)[scan.mask]
    assert valid.max() == 5


@pytest.mark.parametrize("frame", [-1, 180])
def test_a_frame_outside_the_scan_is_refused(frame):
    with pytest.raises(ValueError, match=f"got {frame}"):
        SCAN.counts(frame)


def test_plain_image_has_the_levels_and_the_counts_asked_for():
    counts, truth = diffraction_image((65, 81), background=(3, 10), num_spots=0)
    np.testing.assert_allclose([truth.min(), truth.max()], [3, 10])
    assert counts.dtype == np.uint32
    assert abs(np.mean(counts - truth)) < 4 * np.sqrt(truth.mean() / truth.size)

    _, spotted = diffraction_image((65, 81), num_spots=1, spot_counts=(500, 500))
    # The spot lies wholly inside with this seed.
    np.testing.assert_allclose(np.sum(spotted - truth), 500, rtol=1e-6)
