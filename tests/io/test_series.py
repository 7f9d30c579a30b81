import dataclasses

import numpy as np

from tvjax.io import FileError, Metadata, series_of
from tvjax.io.series import judge_values, Selection


def test_frames_in_memory_come_one_by_one_with_their_masks():
    counts = np.arange(24, dtype=np.uint16).reshape(3, 2, 4)
    counts[1, 0, 2] = 2**16 - 1
    mask = np.ones((2, 4), bool)
    mask[1, 3] = False
    series = series_of(counts, mask=mask)
    assert (series.num_frames, series.shape) == (3, (2, 4))
    first, second = series.frames(1)
    assert (first.index, second.index) == (1, 2)
    np.testing.assert_array_equal(first.data, counts[1])
    assert not first.mask[0, 2] and second.mask[0, 2]
    assert not first.mask[1, 3] and not second.mask[1, 3]
    np.testing.assert_array_equal(series.mask, mask)


def test_only_what_is_asked_for_is_read():
    asked = []

    def read(start, stop):
        for index in range(start, stop):
            asked.append(index)
            yield np.zeros((2, 2), np.uint16), ""

    whole = series_of(np.zeros((9, 2, 2), np.uint16))
    series = dataclasses.replace(whole, read=read)
    frames = series.frames(4, 8)
    assert asked == []
    next(frames)
    assert asked == [4]


def test_a_series_is_closed_at_the_end_of_its_block():
    closed = []
    whole = series_of(np.zeros((1, 2, 2), np.uint16))
    with dataclasses.replace(whole, close=lambda: closed.append(True)) as series:
        assert series.num_frames == 1 and not closed
    assert closed == [True]


def test_known_metadata_leaves_out_what_is_silent():
    assert Metadata().known() == {}
    known = Metadata(beam_centre=(1.0, 2.0), two_theta=0.0).known()
    assert known == {"beam_centre": (1.0, 2.0), "two_theta": 0.0}


def test_a_selection_is_partial_where_a_frame_is_left_out():
    assert Selection(2, 5, 9).num_frames == 3 and Selection(2, 5, 9).partial
    assert not Selection(0, 9, 9).partial


def test_a_later_frame_that_cannot_be_read_is_left_to_who_reaches_it():
    def read(start, stop):
        if start:
            raise FileError("damaged")
        yield np.zeros((2, 2), np.uint32), ""

    found, doubts = judge_values("scan", read, 9)
    assert found.valid(np.zeros((2, 2), np.uint32)).all() and not doubts


def test_values_that_leave_little_are_told():
    frames = np.zeros((3, 20, 30), np.uint32)
    frames[:, :12] = 2**32 - 1
    (warning,) = series_of(frames).warnings
    assert "leaves 40.0% of the pixels valid" in warning


def test_a_mask_of_one_frame_is_for_that_frame():
    series = series_of(np.zeros((3, 2, 4), np.uint32))
    own = np.arange(24).reshape(3, 2, 4) % 5 > 0
    series = dataclasses.replace(series, mask_of_frame=lambda index: own[index])
    for frame in series.frames(1):
        np.testing.assert_array_equal(frame.mask, own[frame.index])
