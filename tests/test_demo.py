import numpy as np

from tvjax.demo import scan_series
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
