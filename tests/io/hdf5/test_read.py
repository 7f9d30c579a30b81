import shutil

import h5py
import numpy as np
import pytest

from tests.io.masters import MASKED
from tests.io.rewriting import read
from tvjax.io import FileError, open_series


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_frames_of_a_master_come_in_order_across_its_data_files(master, counts):
    with open_series(master) as series:
        assert (series.num_frames, series.shape) == (7, (20, 30))
        frames = list(series.frames(2, 5))
    assert [frame.index for frame in frames] == [2, 3, 4]
    for frame in frames:
        np.testing.assert_array_equal(frame.data, counts[frame.index])


def test_mask_is_false_where_the_pixel_mask_or_a_mark_says_so(master):
    with open_series(master) as series:
        assert not series.mask[9:11].any() and not series.mask[2, 3]
        frame = next(series.frames())
    assert frame.mask.sum() == 18 * 30 - 1


def test_a_mark_in_one_frame_masks_that_frame_only(master):
    with h5py.File(master.with_name("scan_data_000002.h5"), "r+") as file:
        file["entry/data/data"][1, 5, 6] = MASKED
    with open_series(master) as series:
        valid = [frame.mask[5, 6] for frame in series.frames()]
    assert valid == [True, True, True, True, False, True, True]


def test_a_data_file_can_be_read_alone(master, counts):
    np.testing.assert_array_equal(
        read(master.with_name("scan_data_000002.h5")), counts[3:6]
    )


@pytest.mark.parametrize("shape", [(20, 30), (7, 20, 30), (2, 3, 20, 30)])
def test_leading_axes_are_frames(tmp_path, shape):
    stack = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["somewhere/else"] = stack
    np.testing.assert_array_equal(
        read(tmp_path / "stack.h5"), stack.reshape(-1, 20, 30)
    )


def test_virtual_frames_are_read(master, counts):
    path = master.with_name("virtual.h5")
    layout = h5py.VirtualLayout((3, 20, 30), np.uint32)
    layout[:] = h5py.VirtualSource(
        "scan_data_000001.h5", "entry/data/data", (3, 20, 30)
    )
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    np.testing.assert_array_equal(read(path), counts[:3])
    master.with_name("scan_data_000001.h5").unlink()
    with pytest.raises(FileError, match="scan_data_000001.h5, which is missing"):
        open_series(path)


@pytest.mark.parametrize("name", ["scan_master.h5", "scan_data_000003.h5"])
def test_a_truncated_file_is_named(master, name):
    cut(master.with_name(name))
    with pytest.raises(FileError, match=f"{name} is truncated or damaged"):
        open_series(master)


def test_a_damaged_frame_is_reported_when_it_is_reached(master):
    data_file = master.with_name("scan_data_000002.h5")
    with h5py.File(data_file) as file:
        chunk = file["entry/data/data"].id.get_chunk_info(2)
    content = bytearray(data_file.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    data_file.write_bytes(content)
    with open_series(master) as series:
        frames = series.frames()
        for _ in range(5):
            next(frames)
        with pytest.raises(
            FileError, match="scan_data_000002.h5 is truncated or damaged"
        ):
            next(frames)


def test_frames_of_different_shapes_are_refused(master):
    with h5py.File(master.with_name("scan_data_000003.h5"), "w") as file:
        file["entry/data/data"] = np.zeros((1, 5, 5), np.uint32)
    with pytest.raises(FileError, match="different shapes or types"):
        open_series(master)


def test_a_detector_without_a_valid_pixel_is_refused(master):
    with h5py.File(master, "r+") as file:
        file["entry/instrument/detector/detectorSpecific/pixel_mask"][...] = 1
    with pytest.raises(FileError, match="every pixel invalid"):
        open_series(master)


def test_a_master_with_other_hdf5_files_is_refused(master):
    shutil.copy(master, master.with_name("copy.h5"))
    with pytest.raises(FileError, match="several with a folder as output"):
        open_series([master, master.with_name("copy.h5")])


def test_nan_and_infinity_are_invalid_pixels(tmp_path):
    image = np.ones((1, 8, 9), np.float32)
    image[0, 1, 2], image[0, 2, 3] = np.nan, np.inf
    with h5py.File(tmp_path / "float.h5", "w") as file:
        file["data"] = image
    with open_series(tmp_path / "float.h5") as series:
        assert (~next(series.frames()).mask).nonzero()[0].tolist() == [1, 2]
