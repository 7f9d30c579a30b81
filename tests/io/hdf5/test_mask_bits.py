import h5py
import numpy as np
import pytest

from tests.io.rewriting import rewrite
from tvjax.io import open_series

SHAPE = (16, 20)
FRAMES = np.random.default_rng(0).poisson(5.0, (3, *SHAPE)).astype(np.uint32)
FAULTS = [0x1, 0x2, 0x4, 0x8, 0x10, 0x40, 0x80, 0x200, 0x400, 0x10000]
HARMLESS = [0x20, 0x100, 0x800, 0x1000, 0x2000, 0x4000]


def masks(*bits):
    """A row a bit: the first row is perfect."""
    mask = np.zeros(SHAPE, np.uint32)
    for row, bit in enumerate(bits, 1):
        mask[row] = bit
    return mask


def write(path, images, name, mask, **others):
    with h5py.File(path, "w") as file:
        file[images], file[name] = FRAMES, mask
        for key, value in others.items():
            file[key] = value
    return path


def read(path, **options):
    """The valid pixels of the first frame, and the warnings on bits."""
    with open_series(path, **options) as series:
        (frame, *_) = series.frames()
        return frame.mask, [text for text in series.warnings if "has bits" in text]


@pytest.mark.parametrize("each", [False, True], ids=["for all", "for each frame"])
@pytest.mark.parametrize("images", ["entry_1/data_1/data", "entry_1/image_1/data"])
def test_bits_of_cxi_that_are_no_fault_leave_a_pixel_valid(tmp_path, images, each):
    mask = masks(*HARMLESS, *FAULTS[:3], 0x800 | 0x1)
    place = images.replace("/data", "/mask").replace("mask_1", "data_1")
    path = write(
        tmp_path / "r.cxi", images, place, np.stack([mask] * 3)[: 3 * each or 1]
    )
    valid, warnings = read(path)
    assert valid[: 1 + len(HARMLESS)].all()
    assert not valid[1 + len(HARMLESS) : 5 + len(HARMLESS)].any()
    (warning,) = warnings
    assert "0x800 (artifact corrected)" in warning and "only 0x7 were taken" in warning
    assert "37.5% of the pixels stay valid" in warning  # 6 rows of 16


@pytest.mark.parametrize("bit", FAULTS)
def test_bits_that_tell_of_a_fault_make_a_pixel_invalid_without_a_word(tmp_path, bit):
    path = write(
        tmp_path / "r.cxi", "data/counts", "data/mask", masks(bit), cxi_version=140
    )
    valid, warnings = read(path)
    assert valid[0].all() and not valid[1].any() and not warnings


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, ">u4", np.uint64])
def test_bits_are_read_in_every_type(tmp_path, dtype):
    mask = masks(0x1000, 0x1001).astype(dtype)
    path = write(tmp_path / "r.cxi", "entry_1/data_1/data", "entry_1/data_1/mask", mask)
    valid, _ = read(path)
    assert valid[1].all() and not valid[2].any()


def test_floats_and_truth_values_have_no_bits(tmp_path):
    for dtype in (np.float32, bool):
        mask = masks(0x1000).astype(dtype)
        path = write(
            tmp_path / "r.cxi", "entry_1/data_1/d", "entry_1/data_1/mask", mask
        )
        valid, warnings = read(path)
        assert not valid[1].any() and not warnings


def test_the_bits_of_other_files_are_all_faults(tmp_path):
    mask = masks(*HARMLESS)
    path = write(tmp_path / "r.h5", "entry/data/data", "entry/data/mask", mask)
    valid, warnings = read(path)
    assert not valid[1 : 1 + len(HARMLESS)].any() and not warnings


def test_a_cxi_file_that_shows_masks_of_the_xfel_has_its_bits(tmp_path):
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["INSTRUMENT/D/image/mask"] = masks(0x20)
    layout = h5py.VirtualLayout(SHAPE, np.uint32)
    layout[:] = h5py.VirtualSource("raw.h5", "INSTRUMENT/D/image/mask", SHAPE)
    with h5py.File(tmp_path / "r.cxi", "w") as file:
        file["cxi_version"] = 150
        file["entry_1/data_1/data"] = FRAMES
        file.create_virtual_dataset("entry_1/data_1/mask", layout)
    valid, warnings = read(tmp_path / "r.cxi")
    assert not valid[1].any() and not warnings


def test_all_bits_of_a_pixel_mask_are_faults(tmp_path):
    mask = masks(*(1 << n for n in range(15)))
    mask[0, 0] = 1 << 31  # a virtual pixel
    name = "entry/instrument/detector/pixel_mask"
    valid, warnings = read(write(tmp_path / "r.h5", "entry/data/data", name, mask))
    assert not valid[0, 0] and valid[0, 1:].all() and not valid[1:].any()
    assert not warnings


def test_a_mask_leaves_with_all_its_bits(tmp_path):
    mask = masks(*HARMLESS, *FAULTS[:3])
    path = write(tmp_path / "r.h5", "entry_1/data_1/data", "entry_1/data_1/mask", mask)
    rewrite(path, tmp_path / "o.h5")
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_array_equal(file["entry_1/data_1/mask"][()], mask)
