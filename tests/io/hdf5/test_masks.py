import h5py
import numpy as np
import pytest

from tests.io.masters import group
from tests.io.rewriting import rewrite
from tvjax.io import create_series, FileError, open_series, read_mask
from tvjax.io.stack import open_stack

SHAPE = (20, 30)
FRAMES = np.random.default_rng(0).poisson(5.0, (4, *SHAPE)).astype(np.uint32)
BAD = np.zeros(SHAPE, np.uint32)
BAD[:, :6] = 1
EACH = np.stack([np.roll(BAD, 4 * k, 1) for k in range(4)])


def write(path, contents):
    with h5py.File(path, "w") as file:
        for name, value in contents.items():
            file[name] = value
    return path


def shares(path, **options):
    """The share of valid pixels of each frame, and the warnings."""
    with open_series(path, **options) as series:
        return [float(f.mask.mean()) for f in series.frames()], series.warnings


@pytest.mark.parametrize("dtype", [np.uint32, np.uint8, bool, np.float32])
@pytest.mark.parametrize(
    ("images", "mask"),
    [
        ("entry/data/data", "entry/instrument/detector/pixel_mask"),
        ("entry/data/data", "entry/instrument/detector/detectorSpecific/pixel_mask"),
        ("entry/data/data", "entry/instrument/detector/pixel_mask_1"),
        ("entry_1/image_1/data", "entry_1/image_1/mask"),
        ("INSTRUMENT/DET/image/data", "INSTRUMENT/DET/image/mask"),
        ("entry/data/counts", "entry/data/counts_mask"),
    ],
)
def test_not_zero_in_a_mask_is_invalid(tmp_path, dtype, images, mask):
    path = write(tmp_path / "a.h5", {images: FRAMES, mask: BAD.astype(dtype)})
    assert shares(path) == ([0.8] * 4, ())


def test_an_attribute_names_the_mask(tmp_path):
    path = write(tmp_path / "a.h5", {"entry/data/data": FRAMES, "entry/flags": BAD})
    with h5py.File(path, "r+") as file:
        file["entry/data"].attrs["mask"] = "/entry/flags"
    assert shares(path) == ([0.8] * 4, ())


def test_a_mask_lies_behind_a_link(tmp_path):
    write(tmp_path / "other.h5", {"instrument/detector/pixel_mask": BAD})
    for name, link in (
        ("entry/instrument", h5py.ExternalLink("other.h5", "/instrument")),
        ("entry/instrument/detector/pixel_mask", h5py.SoftLink("/calibration/bad")),
    ):
        contents = {"entry/data/data": FRAMES, "calibration/bad": BAD, name: link}
        assert shares(write(tmp_path / "a.h5", contents))[0] == [0.8] * 4


def test_a_link_to_a_mask_that_leads_nowhere_is_told(tmp_path):
    link = h5py.ExternalLink("gone.h5", "/mask")
    name = "entry/instrument/detector/pixel_mask"
    found, (warning,) = shares(
        write(tmp_path / "a.h5", {"entry/data/data": FRAMES, name: link})
    )
    assert found == [1.0] * 4 and f"/{name} that leads nowhere" in warning


def test_a_flag_that_a_mask_was_applied_is_no_mask(tmp_path):
    path = write(
        tmp_path / "a.h5",
        {
            "entry/data/data": FRAMES,
            "entry/instrument/detector/pixel_mask": BAD,
            "entry/instrument/detector/pixel_mask_applied": 1,
        },
    )
    assert shares(path) == ([0.8] * 4, ())


@pytest.mark.parametrize("name", ["detector/pixel_mask", "data/mask"])
def test_each_frame_has_its_own_mask(tmp_path, name):
    path = write(tmp_path / "a.h5", {"entry/data/data": FRAMES, f"entry/{name}": EACH})
    with open_series(path) as series:
        for frame in series.frames(1):
            np.testing.assert_array_equal(frame.mask, EACH[frame.index] == 0)
        assert series.mask.all() and series.warnings == ()


@pytest.mark.parametrize("mask", [BAD, BAD[None]])
def test_a_single_image_has_a_mask(tmp_path, mask):
    for images in (FRAMES[0], FRAMES[:1]):
        contents = {"entry/data/data": images, "entry/detector/pixel_mask": mask}
        assert shares(write(tmp_path / "a.h5", contents)) == ([0.8], ())


def test_a_mask_of_a_detector_of_another_shape_is_of_no_concern(tmp_path):
    contents = {
        "entry/data/data": FRAMES,
        "entry/instrument/saxs/pixel_mask": BAD,
        "entry/instrument/waxs/pixel_mask": np.zeros((7, 7), np.uint32),
    }
    assert shares(write(tmp_path / "a.h5", contents)) == ([0.8] * 4, ())


def test_panels_have_their_own_masks(tmp_path):
    images = np.stack([FRAMES, FRAMES, FRAMES])  # frame, panel, y, x
    for mask in (EACH, np.stack([EACH, EACH, EACH])):
        contents = {"entry/data/data": images, "entry/detector/pixel_mask": mask}
        with open_series(write(tmp_path / "a.h5", contents)) as series:
            assert series.num_frames == 12
            for frame in series.frames():
                np.testing.assert_array_equal(frame.mask, EACH[frame.index % 4] == 0)


def test_masks_beside_the_images_of_data_files_are_those_of_their_frames(tmp_path):
    links = {}
    for number in (1, 2):
        part = slice(2 * number - 2, 2 * number)
        name = f"scan_data_00000{number}.h5"
        contents = {"entry/data/data": FRAMES[part], "entry/data/mask": EACH[part]}
        write(tmp_path / name, contents)
        links[f"entry/data/data_00000{number}"] = h5py.ExternalLink(
            name, "/entry/data/data"
        )
    with open_series(write(tmp_path / "scan_master.h5", links)) as series:
        for frame in series.frames():
            np.testing.assert_array_equal(frame.mask, EACH[frame.index] == 0)


def test_a_mask_of_other_pixels_or_frames_is_told_and_not_used(tmp_path):
    for mask in (np.zeros((40, 30), np.uint32), EACH[:3]):
        contents = {"entry/data/data": FRAMES, "entry/detector/pixel_mask": mask}
        found, (warning,) = shares(write(tmp_path / "a.h5", contents))
        assert found == [1.0] * 4
        assert f"pixel_mask of the shape {mask.shape}" in warning
        assert "was not used" in warning and "--mask" in warning


def test_what_may_be_a_mask_is_told(tmp_path):
    contents = {"entry/data/data": FRAMES, "entry/process/bad_pixel_mask": BAD}
    found, (warning,) = shares(write(tmp_path / "a.h5", contents))
    assert found == [1.0] * 4
    assert "/entry/process/bad_pixel_mask, which may be a mask" in warning


@pytest.mark.parametrize("kind", ["NXdetector", "NXcollection"])
def test_the_mask_is_that_of_the_detector_whose_images_are_read(tmp_path, kind):
    masks = {"saxs": BAD, "waxs": np.roll(BAD, 10, 1)}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        instrument = file.create_group("entry/instrument")
        for name, mask in masks.items():
            detector = group(instrument, name, kind)
            detector["data"], detector["pixel_mask"] = FRAMES, mask
            file[f"entry/{name}/data"] = h5py.SoftLink(f"/entry/instrument/{name}/data")
    for name, mask in masks.items():
        for place in (f"/entry/instrument/{name}/data", f"/entry/{name}/data"):
            with open_series(tmp_path / "a.h5", dataset=place) as series:
                np.testing.assert_array_equal(series.mask, mask == 0)
                assert not [text for text in series.warnings if "pixel_mask" in text]


def test_masks_of_which_nobody_can_tell_whose_they_are_are_told(tmp_path):
    contents = {
        "entry/data/data": FRAMES,
        "entry/instrument/saxs/pixel_mask": BAD,
        "entry/instrument/waxs/pixel_mask": np.roll(BAD, 10, 1),
    }
    found, (warning,) = shares(write(tmp_path / "a.h5", contents))
    assert found == [1.0] * 4
    assert "masks of several detectors" in warning and "--mask" in warning


def test_a_mask_that_leaves_little_is_told_and_one_that_leaves_nothing_refused(
    tmp_path,
):
    contents = {"entry/data/data": FRAMES, "entry/data/mask": 1 - BAD}
    found, (warning,) = shares(write(tmp_path / "a.h5", contents))
    assert found == pytest.approx([0.2] * 4)
    assert "/entry/data/mask" in warning and "20.0% of the pixels valid" in warning
    contents["entry/data/mask"] = np.ones(SHAPE, bool)
    with pytest.raises(FileError, match="every pixel invalid in its mask"):
        open_series(write(tmp_path / "a.h5", contents))


def test_masks_turn_with_the_axes(tmp_path):
    turned = [FRAMES.transpose(1, 2, 0), EACH.transpose(1, 2, 0)]
    names = ["entry/data/data", "entry/detector/pixel_mask"]
    path = write(tmp_path / "a.h5", dict(zip(names, turned, strict=True)))
    with open_stack(path, axes="YXE", energies="none") as stack:
        for frame in stack.series.frames():
            np.testing.assert_array_equal(frame.mask, EACH[frame.index] == 0)
    turned = dict(zip(names, [FRAMES.transpose(0, 2, 1), BAD.T], strict=True))
    with open_stack(
        write(tmp_path / "b.h5", turned), axes="EXY", energies="none"
    ) as stack:
        np.testing.assert_array_equal(stack.series.mask, BAD == 0)


def test_frames_with_masks_of_their_own_return_as_they_came(tmp_path):
    contents = {"entry/data/data": FRAMES, "entry/data/mask": EACH}
    with open_series(write(tmp_path / "a.h5", contents)) as series:
        with create_series(tmp_path / "out.h5", series, scale=1) as writer:
            for frame in series.frames():
                writer.write(np.zeros(SHAPE), frame)
            writer.finish()
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(
            file["entry/data/data"][()], np.where(EACH, FRAMES, 0)
        )


def test_of_selected_frames_the_masks_are_kept_too(tmp_path):
    source = write(
        tmp_path / "a.h5",
        {"entry/data/data": FRAMES, "entry/instrument/detector/pixel_mask": EACH},
    )
    output = tmp_path / "out" / "a.h5"
    rewrite(source, output, start=1, stop=3)
    with h5py.File(output) as file:
        kept = file["entry/instrument/detector/pixel_mask"][()]
    np.testing.assert_array_equal(kept, EACH[1:3])
    assert shares(output) == (shares(source)[0][1:3], ())


def test_a_file_of_masks_has_one_for_these_frames(tmp_path):
    masks = {"a/pixel_mask": BAD, "b/pixel_mask": np.zeros((7, 7), bool)}
    path = write(tmp_path / "m.h5", masks)
    np.testing.assert_array_equal(read_mask(path, SHAPE), BAD == 0)
    for masks in (
        {"a/pixel_mask": BAD, "b/pixel_mask": 1 - BAD},
        {"a/pixel_mask": EACH},
        {"data/mask": EACH},
    ):
        with pytest.raises(FileError, match="masks .*that differ"):
            read_mask(write(tmp_path / "m.h5", masks), SHAPE)
    for masks in ({"data/mask": BAD != 0}, {"data/data": BAD}, {"mask": BAD[None]}):
        path = write(tmp_path / "m.h5", masks)
        np.testing.assert_array_equal(read_mask(path, SHAPE), BAD == 0)
