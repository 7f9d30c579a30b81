import h5py
import numpy as np
import pytest

from tvjax.io import open_series
from tvjax.io.hdf5.proof import (
    arrays_differ,
    chosen_images,
    mask_differs,
    masks_differ,
    numbers_differ,
    order_differs,
)
from tvjax.io.hdf5.slots import Slot
from tvjax.io.series import Selection

ALL = Selection(0, 7, 7)


def test_images_that_a_file_shows_need_no_name(master):
    with open_series(master) as series:
        assert chosen_images(series.layout) is None


def test_images_that_were_chosen_keep_their_name(tmp_path, counts):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = counts, counts
        for number in (1, 2):
            file[f"c/data_{number:06d}"] = counts
            file[f"d/data_{number:06d}"] = counts
    for name in ("/b", "/d"):
        with open_series(tmp_path / "two.h5", dataset=name) as series:
            assert chosen_images(series.layout) == name


@pytest.mark.parametrize(
    ("values", "fine"),
    [(np.arange(7.0), True), (np.arange(2.0, 5), True), (np.arange(3.0), False)],
)
def test_numbers_by_frame_are_all_or_those_of_the_frames(tmp_path, values, fine):
    with (
        h5py.File(tmp_path / "a.h5", "w") as raw,
        h5py.File(tmp_path / "b.h5", "w") as new,
    ):
        raw["x/angles"], new["x/angles"] = np.arange(7.0), values
        raw["other"], new["other"] = np.zeros(4), np.ones(4)
        found = list(arrays_differ(new, raw, Selection(2, 5, 7)))
    assert found == ([] if fine else ["/x/angles has other values than in the input"])


@pytest.mark.parametrize("step", [1, -1])
def test_a_view_shows_frames_where_they_were_written(tmp_path, counts, step):
    with h5py.File(tmp_path / "stored.h5", "w") as file:
        file["x"] = counts
    with h5py.File(tmp_path / "view.h5", "w") as file:
        layout = h5py.VirtualLayout(counts.shape, counts.dtype)
        source = h5py.VirtualSource("stored.h5", "x", counts.shape)
        for index in range(7):
            layout[index] = source[range(7)[::step][index]]
        file.create_virtual_dataset("view", layout)
    slot = Slot("/view", "/x", 7, tmp_path / "stored.h5", None)
    files = {slot.data_file: tmp_path / "stored.h5"}
    with open_series(tmp_path / "view.h5") as series:
        found = list(order_differs(series.layout, (slot,), files))
    wrong = ["frame 0 is shown from another place than it was written to"]
    assert found == ([] if step == 1 else wrong)


def test_numbers_that_are_missing_are_named(tmp_path):
    with (
        h5py.File(tmp_path / "a.h5", "w") as raw,
        h5py.File(tmp_path / "b.h5", "w") as new,
    ):
        raw["positions"] = np.zeros((7, 3))
        assert list(arrays_differ(new, raw, ALL)) == ["/positions is missing"]
        assert list(numbers_differ(new, "x", np.ones(2))) == ["x is missing"]


def test_the_same_file_has_the_same_masks(master):
    with open_series(master) as one, open_series(master) as other:
        assert not list(masks_differ(one, other, ALL, [0, 6]))


def test_a_mask_that_differs_is_told_in_numbers():
    mask = np.ones((4, 5), bool)
    other = mask.copy()
    other[0] = False
    clause = mask_differs(other, mask, "frame 3")
    assert clause.startswith("the mask of frame 3 has 0 invalid pixels in place of 5")
