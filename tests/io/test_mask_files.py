import h5py
import numpy as np
import pytest
import tifffile

from tvjax.io import FileError, read_mask

VALID = np.ones((4, 5), bool)
VALID[1, 2] = False


def save_npy(path):
    np.save(path.with_suffix(".npy"), VALID)
    return path.with_suffix(".npy")


def save_npy_of_integers(path):
    np.save(path.with_suffix(".npy"), 7 * ~VALID)
    return path.with_suffix(".npy")


def save_tiff(path):
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


@pytest.mark.parametrize(
    "save", [save_npy, save_npy_of_integers, save_tiff, save_image, save_pixel_mask]
)
def test_zero_is_valid_in_files_and_true_in_booleans(tmp_path, save):
    np.testing.assert_array_equal(read_mask(save(tmp_path / "mask"), (4, 5)), VALID)


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
