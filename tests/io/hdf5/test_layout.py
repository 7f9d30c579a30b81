import h5py
import numpy as np
import pytest

from tvjax.io.hdf5.layout import FrameDataset, Layout, place_of_frame

FRAMES = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # energy, height, width


@pytest.mark.parametrize("axes", ["EYX", "EXY", "YXE", "XYE", "YEX", "XEY"])
def test_frames_and_rows_are_found_in_any_order_of_axes(tmp_path, axes):
    turned = FRAMES.transpose(["EYX".index(axis) for axis in axes])
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["stack"] = turned
        dataset = FrameDataset("/stack", file["stack"], 2, None, axes)
        part = dataset.cut(slice(1, 2), slice(0, 2))
        np.testing.assert_array_equal(part, FRAMES[1:2, :2])
        frame = dataset.images[dataset.place(1)]
    rows_first = axes.index("Y") < axes.index("X")
    np.testing.assert_array_equal(frame if rows_first else frame.T, FRAMES[1])


def test_frames_of_a_raster_are_counted_along_its_rows():
    raster = np.arange(2 * 5 * 3 * 4).reshape(2, 5, 3, 4)
    for index, frame in enumerate(raster.reshape(10, 3, 4)):
        np.testing.assert_array_equal(
            raster[place_of_frame(raster.shape, index)], frame
        )


def test_a_single_image_is_the_only_frame():
    assert place_of_frame((3, 4), 0) == (slice(None), slice(None))


@pytest.mark.parametrize(("name", "group"), [("/a/b/data", "/a/b"), ("/data", "/")])
def test_the_group_is_the_one_that_names_the_images(tmp_path, name, group):
    path = tmp_path / "stack.h5"
    with h5py.File(path, "w") as file:
        file[name] = FRAMES
        dataset = FrameDataset(name, file[name], 2, None)
        assert Layout(path, file, (dataset,)).group.name == group


def test_of_several_images_a_frame_only_the_one_that_is_read_is_checked(tmp_path):
    checked = []
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["data"] = np.arange(5 * 3 * 4 * 4).reshape(5, 3, 4, 4)
        frames = FrameDataset(
            "/data",
            file["data"],
            5,
            None,
            channel=1,
            check=lambda start, stop: checked.extend(range(start, stop)),
        )
        np.testing.assert_array_equal(frames.read(2), file["data"][2, 1])
    assert checked == [7]  # two whole frames of three images, and one
