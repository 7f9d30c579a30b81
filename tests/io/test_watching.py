import shutil

import h5py
import numpy as np
import pytest

from tests.io.masters import numbers, write_data_file, write_master
from tvjax.io import FileError
from tvjax.io.filling import GrowingFolder
from tvjax.io.watching import Growing, GrowingFile, watch


@pytest.fixture
def writer(tmp_path):
    """A file that another opening of it may read while it is written."""
    with h5py.File(tmp_path / "live.h5", "w", libver="latest") as file:
        file.create_dataset(
            "entry/data/data",
            (0, 8, 9),
            np.uint32,
            maxshape=(None, 8, 9),
            chunks=(1, 8, 9),
        )
        yield file


def append(file, *frames):
    images = file["entry/data/data"]
    for frame in frames:
        images.resize(len(images) + 1, 0)
        images[-1] = frame
        images.flush()


def test_frames_come_while_a_file_is_written(tmp_path, writer):
    growing = GrowingFile(tmp_path / "live.h5", None)
    assert growing.look() == 0
    assert "live.h5" in growing.doubts[0]  # locked, before it may be read
    writer.swmr_mode = True
    assert growing.look() == 0
    append(writer, *numbers(2))
    assert growing.look() == 2 and growing.doubts == ()
    append(writer, *numbers(1, 3))
    assert growing.look() == 3
    found = [frame.data[0, 0] for frame in growing.take(1, 3, None)]
    assert found == [2, 3]
    assert growing.expected is None and list(growing.order()) == [0, 1, 2]
    with growing.open() as series:
        assert series.num_frames == 3


def test_data_files_come_one_after_another(tmp_path, counts):
    (tmp_path / "there").mkdir()
    master = write_master(tmp_path / "there" / "a_master.h5", counts)
    live = tmp_path / "a_master.h5"
    growing = GrowingFile(live, None)
    assert growing.look() == 0 and "does not exist" in growing.doubts[0]
    shutil.copy(master, live)
    assert growing.look() == 0 and "missing" in growing.doubts[0]
    for number, come in enumerate((3, 6, 7), 1):
        name = f"a_data_{number:06d}.h5"
        half = (master.parent / name).read_bytes()
        (tmp_path / name).write_bytes(half[: len(half) // 2])
        before = come - (1 if come == 7 else 3)
        assert growing.look() == before
        shutil.copy(master.parent / name, tmp_path / name)
        assert growing.look() == come
    assert growing.expected == 7
    (frame,) = growing.take(6, 7, None)
    np.testing.assert_array_equal(frame.data, counts[6])


def test_a_file_is_as_long_as_it_announces(tmp_path):
    path = write_data_file(tmp_path / "a.h5", numbers(3))
    with h5py.File(path, "a") as file:
        file["entry/instrument/detector/detectorSpecific/nimages"] = 5
    growing = GrowingFile(path, None)
    assert growing.look() == 3 and growing.expected == 5
    with growing.open() as series:
        assert series.num_frames == 5


def test_what_is_watched_depends_on_the_name(tmp_path, counts):
    master = write_master(tmp_path / "a_master.h5", counts)
    for name in (master, tmp_path / "later.nxs"):
        assert isinstance(watch(name), GrowingFile)
    for name in (tmp_path, str(tmp_path / "i_##.cbf"), tmp_path / "later_1.cbf"):
        assert isinstance(watch(name), GrowingFolder)
        assert isinstance(watch(name), Growing)
    with pytest.raises(FileError, match="2 inputs are named, and --watch follows one"):
        watch([master, master])
