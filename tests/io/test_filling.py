import os
import time

import numpy as np
import pytest

from tests.io.images import save_cbf, save_tiff
from tvjax.io import FileError
from tvjax.io.filling import GrowingFolder, SETTLED


def age(path, seconds=60):
    """Let a file have been changed a while ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "live").mkdir()
    return tmp_path / "live"


def put(folder, number, image, seconds=60):
    return age(save_cbf(folder / f"img_{number:04d}.cbf", image), seconds)


def test_files_come_when_they_have_not_changed_for_a_while(folder, image):
    growing = GrowingFolder(str(folder))
    assert growing.look() == 0
    path = save_cbf(folder / "img_0001.cbf", image)
    os.utime(path)
    assert growing.look() == 0  # it may be being written
    time.sleep(SETTLED)
    assert growing.look() == 1
    assert growing.expected is None


def test_half_a_file_is_waited_for(folder, image):
    growing = GrowingFolder(str(folder))
    path = put(folder, 1, image)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    age(path)
    assert growing.look() == 0
    assert growing.look(last=True) == 0
    assert "img_0001.cbf is truncated or damaged" in growing.doubts[0]
    assert growing.doubts[0].endswith("It was left out.")
    path.write_bytes(whole)
    age(path)
    assert growing.look() == 1 and growing.doubts == ()


def test_frames_are_given_as_they_came_and_the_series_by_its_numbers(folder, image):
    growing = GrowingFolder(str(folder))
    for number in (3, 10, 2):
        put(folder, number, image + number)
        growing.look()
    frames = growing.take(0, 3, None)
    assert [int(frame.data[0, 0] - image[0, 0]) for frame in frames] == [3, 10, 2]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert growing.order() == [2, 0, 1]
    with growing.open() as series:
        assert series.numbers == (2, 3, 10)
        assert "missing are 4 to 9" in series.warnings[0]


def test_invalid_pixels_are_those_of_the_beginning(folder, image):
    growing = GrowingFolder(str(folder))
    for number in (1, 2):
        put(folder, number, image)
        growing.look()
    with growing.open() as like:
        assert not like.as_before(None).mask.all() or like.mask.all()
    late = np.full_like(image, -3)  # by itself, a pedestal
    put(folder, 3, late)
    growing.look()
    (frame,) = growing.take(2, 3, like)
    assert not frame.mask.any()


def test_a_frame_of_another_shape_is_left_out(folder, image):
    growing = GrowingFolder(str(folder))
    put(folder, 1, image)
    put(folder, 2, image[:-1])
    assert growing.look() == 1
    assert "img_0002.cbf has 1 frames of (19, 30) int32" in growing.doubts[0]


def test_several_series_are_asked_about_and_later_ones_left_out(folder, image):
    put(folder, 1, image)
    other = age(save_tiff(folder / "other_1.tif", image))
    with pytest.raises(FileError, match=r"such as img_#\.cbf and other_#\.tif: name"):
        GrowingFolder(str(folder)).look()
    other.unlink()
    growing = GrowingFolder(str(folder))
    assert growing.look() == 1
    age(save_tiff(folder / "other_1.tif", image))
    put(folder, 2, image)
    assert growing.look() == 2
    assert growing.doubts == (f"{other} is of another series, and was left out.",)
    pattern = GrowingFolder(str(folder / "other_#.tif"))
    assert pattern.look() == 1


def test_a_folder_of_hdf5_is_no_series(folder):
    (folder / "scan_master.h5").touch()
    with pytest.raises(FileError, match=r"scan_master\.h5: name the file to watch"):
        GrowingFolder(str(folder)).look()


def test_the_first_file_stands_for_those_after_it(folder, image):
    for number in (1, 2, 3):
        put(folder, number, image)
    assert GrowingFolder(str(folder / "img_0002.cbf")).look() == 2
    assert GrowingFolder(str(folder / "img_0009.cbf")).look() == 0
