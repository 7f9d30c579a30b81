from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from tests.io.masters import numbers, write_master
from tvjax.io.hdf5.growing import announced_frames, expected_frames, written_frames
from tvjax.io.hdf5.layout import FrameDataset, Layout


def part(images, data_file=None):
    return FrameDataset("/data", images, len(images), data_file)


def written(images, *, settled=False):
    return written_frames([part(images)], settled=settled)


@pytest.fixture
def growing(tmp_path):
    """A file that is being written for others to read meanwhile."""
    with h5py.File(tmp_path / "growing.h5", "w", libver="latest") as file:
        yield file


def create(file, number, depth=1, **options):
    return file.create_dataset(
        "data", (number, 8, 9), np.uint32, chunks=(depth, 4, 9), **options
    )


@pytest.mark.parametrize("options", [{}, hdf5plugin.Bitshuffle(cname="lz4")])
def test_room_for_frames_is_no_frame(growing, options):
    images = create(growing, 6, **options)
    for index, frame in enumerate(numbers(4)):
        images[index] = frame
        growing.flush()
        assert written(images) == index + 1
    images[5] = 7  # one that came before its turn
    growing.flush()
    assert written(images) == 4


def test_half_a_frame_is_none(growing):
    images = create(growing, 2)
    images[0, :4] = 1
    growing.flush()
    assert written(images) == 0
    images[0, 4:] = 1
    growing.flush()
    assert written(images) == 1


def test_the_last_of_deep_chunks_counts_when_it_is_filled(growing):
    images = create(growing, 0, 3, maxshape=(None, 8, 9))
    growing.swmr_mode = True
    for index, frame in enumerate(numbers(5)):
        images.resize(index + 1, 0)
        images[index] = frame
        images.flush()
    assert written(images) == 3
    assert written(images, settled=True) == 5
    name = growing.filename
    growing.close()
    with h5py.File(name, "r", swmr=True) as file:
        assert written(file["data"]) == 5  # nobody writes it any more


def test_a_dataset_made_at_once_is_whole(growing):
    growing["data"] = numbers(3)
    assert written(growing["data"]) == 3


def test_frames_end_where_a_data_file_is_not_full(growing):
    images = create(growing, 3)
    images[:2] = 1
    growing.flush()
    other = growing.create_dataset("other", data=numbers(2))
    assert written_frames([part(images), part(other)], settled=False) == 2
    assert written_frames([part(other), part(images)], settled=False) == 4


def test_a_virtual_dataset_shows_what_its_sources_have(tmp_path, growing):
    images = create(growing, 4)
    images[:3] = 1
    growing.flush()
    shown = h5py.VirtualLayout((4, 8, 9), np.uint32)
    source = h5py.VirtualSource(images)
    for index, taken in enumerate((1, 0, 3, 2)):
        shown[index] = source[taken]
    growing.create_virtual_dataset("view", shown)
    assert written(growing["view"]) == 2


def test_a_master_announces_its_frames(tmp_path, counts):
    master = write_master(tmp_path / "a_master.h5", counts)
    with h5py.File(master, "a") as file:
        file["entry/instrument/detector/detectorSpecific/ntrigger"][()] = 3
    with h5py.File(master) as file:
        assert announced_frames(file) == 21


def test_what_cannot_grow_tells_its_number(growing):
    fixed = create(growing, 4)
    layout = Layout(Path(growing.filename), growing, (part(fixed),))
    assert expected_frames(layout) == 4
    del growing["data"]
    free = create(growing, 4, maxshape=(None, 8, 9))
    layout = Layout(Path(growing.filename), growing, (part(free),))
    assert expected_frames(layout) is None
