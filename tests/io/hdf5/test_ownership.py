import h5py
import numpy as np

from tests.io.masters import group
from tvjax.io.hdf5.layout import FrameDataset
from tvjax.io.hdf5.ownership import find_ownership, walk_names

IMAGES = np.zeros((3, 4, 5), np.uint32)


def ownership(file, name):
    return find_ownership(file, [FrameDataset(name, file[name], 3, None)])


def test_names_behind_links_of_any_kind_are_found(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["instrument/detector/pixel_mask"] = IMAGES
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["calibration/bad"] = IMAGES
        file["entry/soft"] = h5py.SoftLink("/calibration/bad")
        file["entry/instrument"] = h5py.ExternalLink("other.h5", "/instrument")
        file["entry/broken"] = h5py.SoftLink("/nowhere")
        found = {each.path for each in walk_names(file)}
    assert found == {
        "/calibration/bad",
        "/entry/soft",
        "/entry/instrument/detector/pixel_mask",
    }


def test_links_that_form_a_ring_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = IMAGES
        file["entry/self"] = h5py.SoftLink("/entry")
        file["entry/root"] = file["/"]
        assert [each.path for each in walk_names(file)] == ["/entry/data"]


def test_the_detector_around_a_name_owns_it(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        detector = group(file.create_group("entry"), "detector", "NXdetector")
        detector["detectorSpecific/nimages"] = 3
        file["entry/plain/detectorSpecific/nimages"] = 3
        first, second = walk_names(file)
        assert first.of_detector and first.holder == "detector"
        assert second.holder == "plain"
        assert second.owner != second.group


def two_detectors(path):
    with h5py.File(path, "w") as file:
        for name, depth in (("saxs", 16), ("waxs", 32)):
            detector = group(file.require_group("entry/instrument"), name, "NXdetector")
            detector["data"], detector["bit_depth_image"] = IMAGES, depth
            file[f"entry/{name}_data/images"] = h5py.SoftLink(
                f"/entry/instrument/{name}/data"
            )
            layout = h5py.VirtualLayout(IMAGES.shape, IMAGES.dtype)
            layout[:] = h5py.VirtualSource(
                ".", f"entry/instrument/{name}/data", (3, 4, 5)
            )
            file.create_virtual_dataset(f"entry/shown_{name}/data", layout)
            file[f"entry/{name}/frames"] = IMAGES
    return h5py.File(path)


def test_a_number_is_that_of_the_detector_of_the_images_by_any_name(tmp_path):
    with two_detectors(tmp_path / "a.h5") as file:
        for name, depth in (("saxs", 16), ("waxs", 32)):
            for place in (
                f"/entry/instrument/{name}/data",
                f"/entry/{name}_data/images",
                f"/entry/shown_{name}/data",
                f"/entry/{name}/frames",
            ):
                assert ownership(file, place).number("bit_depth_image") == depth


def test_numbers_of_several_detectors_are_nobodys(tmp_path):
    two_detectors(tmp_path / "a.h5").close()
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["entry/elsewhere/data"] = IMAGES
        owned = ownership(file, "/entry/elsewhere/data")
        assert owned.number("bit_depth_image") is None


def test_another_detector_lends_nothing(tmp_path):
    two_detectors(tmp_path / "a.h5").close()
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["entry/instrument/saxs/bit_depth_image"]
        owned = ownership(file, "/entry/instrument/saxs/data")
        assert owned.number("bit_depth_image") is None


def test_each_entry_has_its_own(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, depth in (("entry_1", 16), ("entry_2", 32)):
            file[f"{name}/data/data"] = IMAGES
            file[f"{name}/instrument/detector/bit_depth_image"] = depth
        for name, depth in (("entry_1", 16), ("entry_2", 32)):
            owned = ownership(file, f"/{name}/data/data")
            assert owned.number("bit_depth_image") == depth
