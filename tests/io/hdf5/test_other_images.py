import h5py
import numpy as np
import pytest

from tests.io.masters import group
from tests.io.rewriting import rewrite
from tvjax.io import FileError, open_series

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.poisson(5.0, (2, 4, 16, 18)).astype(np.uint32)


def detector(entry, images, saturation):
    """A detector with all that depends on its images."""
    found = group(entry, "detector", "NXdetector")
    found["saturation_value"] = np.uint32(saturation)
    found["bit_depth_image"] = np.uint32(16)
    found["nimages"] = np.uint32(len(images))
    found["pixel_mask"] = np.eye(*images.shape[1:], k=saturation, dtype=np.uint32)
    found["frame_time"] = np.arange(len(images))
    return found


def two_entries(path):
    """Two entries, each with its detector and numbered images."""
    with h5py.File(path, "w") as file:
        for name, images, saturation in (("a", FIRST, 2), ("b", SECOND, 3)):
            entry = group(file, name, "NXentry")
            detector(group(entry, "instrument", "NXinstrument"), images, saturation)
            group(entry, "data", "NXdata")["data_000001"] = images
    return path, "/a/data", "/b"


def two_detectors(path):
    """Two detectors of one entry, each with its images."""
    with h5py.File(path, "w") as file:
        entry = group(file, "entry", "NXentry")
        for name, images, saturation in (("a", FIRST, 2), ("b", SECOND, 3)):
            holder = group(entry, name, "NXinstrument")
            detector(holder, images, saturation)["data"] = images
    return path, "/entry/a/detector/data", "/entry/b"


both = pytest.mark.parametrize("write", [two_entries, two_detectors])


def contents(path, part):
    with h5py.File(path) as file:
        found = {}
        file[part].visititems(
            lambda name, item: (
                found.update({name: (item.dtype, item[()].tobytes(), item.shape)})
                if isinstance(item, h5py.Dataset)
                else found.update({name: sorted(item.attrs)})
            )
        )
    return found


@both
def test_several_images_are_asked_about_and_each_can_be_chosen(tmp_path, write):
    path, name, _ = write(tmp_path / "two.h5")
    with pytest.raises(FileError, match=f"several stacks of images, {name}.*--dataset"):
        open_series(path)
    with open_series(path, dataset=name) as series:
        np.testing.assert_array_equal([f.data for f in series.frames()], FIRST)
        (told,) = [text for text in series.warnings if "other images" in text]
        assert series.metadata.saturation == 2
        np.testing.assert_array_equal(~series.mask, np.eye(16, 18, k=2))
    assert name.replace("/a/", "/b/") in told
    assert "not denoised" in told


@both
@pytest.mark.parametrize("selection", [(0, 4), (1, 3)])
def test_what_belongs_to_the_others_is_untouched(tmp_path, write, selection):
    path, name, other = write(tmp_path / "two.h5")
    start, stop = selection
    output = tmp_path / "o.h5"
    rewrite(path, output, dataset=name, start=start, stop=stop, scale=4)
    assert contents(output, other) == contents(path, other)
    with h5py.File(output) as file:
        own = file["a/instrument/detector" if "a" in file else "entry/a/detector"]
        assert own["saturation_value"][()] == 8 and own["data_scale_factor"][()] == 0.25
        assert own["frame_time"].shape == (stop - start,)
        assert own["nimages"][()] == stop - start


@both
def test_both_are_denoised_one_after_the_other(tmp_path, write):
    path, first, _ = write(tmp_path / "two.h5")
    second = first.replace("/a/", "/b/")
    rewrite(path, tmp_path / "o.h5", lambda image: image + 1, dataset=first, scale=1)
    rewrite(
        *(tmp_path / "o.h5", tmp_path / "p.h5", lambda image: image + 2),
        dataset=second,
        scale=1,
    )
    for chosen, expected in ((first, FIRST + 1), (second, SECOND + 2)):
        with open_series(tmp_path / "p.h5", dataset=chosen) as series:
            for frame, image in zip(series.frames(), expected, strict=True):
                np.testing.assert_array_equal(frame.data[frame.mask], image[frame.mask])


def test_flats_and_plots_are_no_other_images(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = FIRST
        file["exchange/data_white"] = SECOND
        file["exchange/theta"] = np.arange(4.0)
        file["exchange/thumbnail"] = FIRST[0]
    with open_series(tmp_path / "a.h5") as series:
        assert not [text for text in series.warnings if "other images" in text]


def test_views_of_the_same_frames_are_no_other_images(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data_000001"] = FIRST
        layout = h5py.VirtualLayout(FIRST.shape, FIRST.dtype)
        layout[:] = h5py.VirtualSource(".", "entry/data/data_000001", FIRST.shape)
        file.create_virtual_dataset("entry/data/data", layout)
    for dataset in (None, "/entry/data/data", "/entry/data/data_000001"):
        with open_series(tmp_path / "a.h5", dataset=dataset) as series:
            assert not series.warnings


def test_the_rest_of_numbered_images_are_other_images(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, images in enumerate((FIRST, SECOND, FIRST), 1):
            file[f"entry/data/data_{number:06}"] = images
    with open_series(tmp_path / "a.h5", dataset="/entry/data/data_000002") as series:
        (told,) = series.warnings
    assert "/entry/data (4, 16, 18) + (4, 16, 18)" in told


@pytest.fixture
def panels(tmp_path):
    """Two panels, and a view that assembles them."""
    with h5py.File(tmp_path / "p.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 32, 18), FIRST.dtype)
        for k, images in enumerate((FIRST, SECOND)):
            file[f"entry/panel_{k}/data"] = images
            layout[:, 16 * k : 16 * k + 16] = h5py.VirtualSource(
                ".", f"entry/panel_{k}/data", images.shape
            )
        file.create_virtual_dataset("entry/data/data", layout)
        file["entry/data"].attrs.update(NX_class="NXdata", signal="data")
    return tmp_path / "p.h5"


def test_panels_that_a_view_assembles_stay_raw_and_are_told(panels, tmp_path):
    with open_series(panels) as series:
        assert series.shape == (32, 18)
        (told,) = series.warnings
    assert "assembles its images of /entry/panel_0/data, /entry/panel_1/data" in told
    rewrite(panels, tmp_path / "o.h5", lambda image: image + 1, scale=1)
    with h5py.File(tmp_path / "o.h5") as file:
        whole = np.concatenate([FIRST, SECOND], 1)
        np.testing.assert_array_equal(file["entry/data/data"][()], whole + 1)
        np.testing.assert_array_equal(file["entry/panel_0/data"][()], FIRST)


def test_a_view_of_one_denoised_panel_and_raw_ones_is_told(panels, tmp_path):
    name = "/entry/panel_1/data"
    with open_series(panels, dataset=name) as series:
        np.testing.assert_array_equal([f.data for f in series.frames()], SECOND)
        assert any("denoised ones beside raw ones" in t for t in series.warnings)
    rewrite(panels, tmp_path / "o.h5", lambda image: image + 1, dataset=name, scale=1)
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_array_equal(file[name][()], SECOND + 1)
        np.testing.assert_array_equal(file["entry/panel_0/data"][()], FIRST)
        whole = np.concatenate([FIRST, SECOND + 1], 1)
        np.testing.assert_array_equal(file["entry/data/data"][()], whole)
