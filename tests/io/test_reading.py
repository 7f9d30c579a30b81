import bz2
import gzip

import h5py
import numpy as np
import pytest
import tifffile

from tests.io.images import save_cbf, save_edf, save_tiff
from tvjax.io import FileError, open_series, read_mask

FORMATS = {"cbf": save_cbf, "tif": save_tiff, "edf": save_edf}


@pytest.fixture(params=FORMATS)
def saved(request, tmp_path, image):
    return FORMATS[request.param](tmp_path / f"scan_0007.{request.param}", image)


def only_frame(path):
    with open_series(path) as series:
        (frame,) = series.frames()
    return frame


def test_values_are_those_written_by_another_program(saved, image):
    np.testing.assert_array_equal(only_frame(saved).data, image)


def test_negative_values_are_invalid_pixels(saved, image):
    np.testing.assert_array_equal(only_frame(saved).mask, image >= 0)


@pytest.mark.parametrize("compression", [bz2, gzip])
def test_a_compressed_file_reads_like_the_plain_one(saved, image, compression):
    packed = saved.with_name(saved.name + "." + compression.__name__[:3].strip("ip"))
    packed.write_bytes(compression.compress(saved.read_bytes()))
    np.testing.assert_array_equal(only_frame(packed).data, image)


def test_a_truncated_file_is_named(saved):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(0.6 * len(content))])
    with pytest.raises(FileError, match=f"{saved.name} is truncated or damaged"):
        open_series(saved)


def test_a_pedestal_makes_negative_values_readings(saved, image):
    save = FORMATS[saved.suffix[1:]]
    assert only_frame(save(saved, image - 10)).mask.all()


@pytest.fixture
def numbered(tmp_path):
    for number in (8, 9, 10, 12):
        save_tiff(
            tmp_path / f"scan_{number:03d}.tif", np.full((4, 5), number, np.uint16)
        )
    return tmp_path


def numbers(paths, **options):
    with open_series(paths, **options) as series:
        return [frame.data[0, 0] for frame in series.frames()]


@pytest.mark.parametrize("pattern", ["scan_*.tif", "scan_0??.tif", "scan_###.tif"])
def test_a_pattern_is_a_series_in_order_of_the_names(numbered, pattern):
    assert numbers(str(numbered / pattern)) == [8, 9, 10, 12]


def test_a_list_is_a_series_in_its_own_order(numbered):
    assert numbers([numbered / "scan_010.tif", numbered / "scan_008.tif"]) == [10, 8]


def test_missing_numbers_are_told(numbered):
    with open_series(str(numbered / "scan_*.tif")) as series:
        assert series.numbers == (8, 9, 10, 12)
        assert [series.place(n) for n in range(4)] == [0, 1, 2, 4]
        (warning,) = series.warnings
    assert "scan_008.tif to scan_012.tif: missing are 11; the other frames" in warning


def test_what_lies_behind_a_gap_is_told(numbered):
    with open_series(numbered / "scan_008.tif", numbered=True) as series:
        assert series.num_frames == 3
        (warning,) = series.warnings
    assert "scan_012.tif and what follows it is left out" in warning


def test_numbered_follows_the_numbers_until_they_break(numbered):
    assert numbers(numbered / "scan_008.tif", numbered=True) == [8, 9, 10]


def test_a_series_can_start_in_the_middle(numbered):
    with open_series(str(numbered / "scan_*.tif")) as series:
        assert [frame.index for frame in series.frames(2)] == [2, 3]


def test_files_of_different_shapes_are_refused(numbered):
    save_tiff(numbered / "scan_009.tif", np.zeros((9, 9), np.uint16))
    with pytest.raises(FileError, match="scan_009.tif has frames of .9, 9."):
        numbers(str(numbered / "scan_*.tif"))


def test_a_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(FileError, match="No file matches"):
        open_series(str(tmp_path / "nothing_*.cbf"))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        open_series(tmp_path / "nothing.cbf")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        open_series(tmp_path)


def test_no_input_is_refused():
    with pytest.raises(FileError, match="No input"):
        open_series([])


@pytest.mark.parametrize("content", [b"", b"energy mu\n" * 50])
def test_an_unknown_format_is_refused_with_a_list_of_the_known(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(FileError, match="no format that is known.*CBF, TIFF.*SMV"):
        open_series(path)


# Masks


VALID = np.ones((4, 5), bool)
VALID[1, 2] = False


def save_npy(path):
    np.save(path.with_suffix(".npy"), VALID)
    return path.with_suffix(".npy")


def save_npy_of_integers(path):
    np.save(path.with_suffix(".npy"), 7 * ~VALID)
    return path.with_suffix(".npy")


def save_mask_tiff(path):
    tifffile.imwrite(path.with_suffix(".tif"), np.where(VALID, 0, 255).astype(np.uint8))
    return path.with_suffix(".tif")


def save_image(path):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["mask"] = (~VALID).astype(np.uint8)
    return path.with_suffix(".h5")


def save_pixel_mask(path):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["entry/data/data"] = np.zeros((3, 4, 5), np.uint16)
        file["entry/instrument/detector/pixel_mask"] = (~VALID).astype(np.uint32)
    return path.with_suffix(".h5")


def save_bits(path):
    tifffile.imwrite(path.with_suffix(".tif"), ~VALID, photometric="minisblack")
    return path.with_suffix(".tif")


def save_boolean_pixel_mask(path):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["entry/instrument/detector/pixel_mask"] = ~VALID
    return path.with_suffix(".h5")


@pytest.mark.parametrize(
    "save",
    [
        *(save_npy, save_npy_of_integers, save_mask_tiff, save_image),
        *(save_pixel_mask, save_bits, save_boolean_pixel_mask),
    ],
)
def test_zero_is_valid_in_files_and_true_in_booleans(tmp_path, save):
    np.testing.assert_array_equal(read_mask(save(tmp_path / "mask"), (4, 5)), VALID)


def test_pages_of_masks_that_differ_are_refused(tmp_path):
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.stack([~VALID, VALID]).astype(np.uint8))
    with pytest.raises(FileError, match="2 masks that differ"):
        read_mask(path, VALID.shape)
    tifffile.imwrite(path, np.stack([~VALID, ~VALID]).astype(np.uint8))
    np.testing.assert_array_equal(read_mask(path, VALID.shape), VALID)


def test_several_frames_tell_what_is_no_reading(tmp_path):
    frames = np.random.default_rng(0).normal(0, 9, (3, 20, 30)).astype(np.int32)
    frames[0] = np.maximum(frames[0], -2)
    for number, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"ccd_{number}.tif", frame)
    with open_series(tmp_path / "ccd_#.tif") as series:
        assert [frame.mask.mean() for frame in series.frames()] == [1.0] * 3


def test_a_mask_of_another_detector_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"shape \(4, 5\), the frames \(5, 4\)"):
        read_mask(save_npy(tmp_path / "mask"), (5, 4))


def test_a_mask_that_leaves_no_pixel_is_refused(tmp_path):
    np.save(tmp_path / "mask.npy", np.ones((4, 5), int))
    with pytest.raises(FileError, match="leaves no valid pixel"):
        read_mask(tmp_path / "mask.npy", (4, 5))


def test_a_missing_mask_is_refused(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        read_mask(tmp_path / "mask.npy", (4, 5))


@pytest.mark.parametrize("shape", [(131072, 131072), (2**40, 4)])
def test_a_numpy_mask_that_claims_more_than_it_has_is_refused(tmp_path, shape):
    path = tmp_path / "mask.npy"
    with path.open("wb") as file:
        header = {"descr": "|b1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(100))
    with pytest.raises(FileError, match="mask.npy is truncated or damaged"):
        read_mask(path, (24, 20))


@pytest.mark.parametrize("paths", [3, None])
def test_what_is_no_path_is_a_sentence(paths):
    with pytest.raises(ValueError, match="`paths` must be a path, or several, got"):
        open_series(paths)
