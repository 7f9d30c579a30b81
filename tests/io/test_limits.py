import resource
from pathlib import Path

import pytest

from tvjax.io import FileError
from tvjax.io.limits import check_beside, check_images, memory

PATH = Path("scan.h5")


def test_frames_of_any_detector_pass():
    check_images(PATH, "", 100_000, (4362, 4148))


def test_a_frame_beyond_the_memory_is_refused_with_its_place():
    with pytest.raises(FileError, match="of 131072 x 131072 at /data, of which one "):
        check_images(PATH, " at /data", 1, (131072, 131072))


def test_more_frames_than_any_scan_are_refused():
    with pytest.raises(FileError, match="claims 17179869184 frames of 24 x 20"):
        check_images(PATH, "", 2**34, (24, 20))


def test_a_list_of_2_34_angles_is_refused():
    check_beside(PATH, "/omega", 2**20)
    with pytest.raises(FileError, match="claims 137 GB of values at /omega"):
        check_beside(PATH, "/omega", 8 * 2**34)


def test_a_limit_of_the_shell_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**20, 2**20))
    assert memory() == 2**20
