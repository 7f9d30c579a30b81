import numpy as np

from tvjax.simulate import Detector
from tvjax.simulate.detector import DEAD, GAP, NOISY


def test_default_is_an_eiger_1m():
    assert Detector().shape == (1065, 1030)


def test_pixel_mask_flags_the_gap_and_as_many_defects_as_asked():
    detector = Detector(
        num_columns=60, module_rows=50, gap_rows=7, num_dead=5, num_noisy=3
    )
    mask = detector.pixel_mask()
    assert mask.shape == (107, 60)
    np.testing.assert_array_equal(mask[50:57], GAP)
    counts = [np.sum(mask == bit) for bit in (GAP, DEAD, NOISY)]
    assert counts == [7 * 60, 5, 3]


def test_beam_centre_moves_by_the_swing():
    detector = Detector(num_columns=61, num_modules=1, module_rows=81, swing=20.0)
    y, x = detector.beam_centre
    assert x == 30
    offset = detector.distance / detector.pixel_size * np.tan(np.deg2rad(20.0))
    np.testing.assert_allclose(y, 40 + offset)


def test_projection_returns_to_the_pixel_that_gave_the_direction():
    detector = Detector(num_columns=30, module_rows=20, gap_rows=3)
    direction = np.stack([c.ravel() for c in detector.directions()], axis=1)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1)
    y, x = detector.project(direction)
    np.testing.assert_allclose(y.reshape(43, 30), np.indices((43, 30))[0], atol=1e-9)
    np.testing.assert_allclose(x.reshape(43, 30), np.indices((43, 30))[1], atol=1e-9)


def test_rays_away_from_the_plane_have_no_pixel():
    y, x = Detector().project(np.asarray([[0.0, 0.0, -1.0]]))
    assert np.isnan(y).all() and np.isnan(x).all()
