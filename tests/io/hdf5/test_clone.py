import h5py
import numpy as np
import pytest

from tests.io.masters import MASKED, write_data_file
from tests.io.rewriting import counts_in, plain_stack, rewrite, rewrite_stack, tree
from tests.io.stacks import frames, write_nxstxm
from tvjax.io import open_series


def data_file(folder, counts):
    return write_data_file(folder / "scan_data_000001.h5", counts)


def raster(folder, counts):
    with h5py.File(folder / "raster.h5", "w") as file:
        file["entry/data/data"] = counts[:6].reshape(2, 3, *counts.shape[1:])
    return folder / "raster.h5"


def single_image(folder, counts):
    with h5py.File(folder / "image.nxs", "w") as file:
        file["entry/data/data"] = counts[0]
    return folder / "image.nxs"


def virtual(folder, counts):
    write_data_file(folder / "scan_data_000001.h5", counts)
    layout = h5py.VirtualLayout(counts.shape, np.uint32)
    layout[:] = h5py.VirtualSource(
        "scan_data_000001.h5", "entry/data/data", counts.shape
    )
    with h5py.File(folder / "virtual.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    return folder / "virtual.h5"


@pytest.mark.parametrize(
    "layout", [data_file, plain_stack, raster, single_image, virtual]
)
def test_hdf5_returns_in_its_own_layout(tmp_path, counts, layout):
    source = layout(tmp_path, counts)
    output = tmp_path / "clean" / source.name
    rewrite(source, output)
    with open_series(source) as before, open_series(output) as after:
        name = before.layout.datasets[0].name
        assert after.layout.datasets[0].name == name
        shape = before.layout.datasets[0].images.shape
        assert after.layout.datasets[0].images.shape == shape
        for old, new in zip(before.frames(), after.frames(), strict=True):
            np.testing.assert_array_equal(new.mask, old.mask)
            np.testing.assert_array_equal(new.data[old.mask], 16 * old.data[old.mask])
            assert (new.data[~old.mask] == MASKED).all()


def test_data_files_follow_the_name_of_the_master(clean):
    assert sorted(path.name for path in clean.parent.iterdir()) == [
        "clean_data_000001.h5",
        "clean_data_000002.h5",
        "clean_data_000003.h5",
        "clean_master.h5",
    ]


def test_a_clone_keeps_all_but_what_depends_on_the_images(master, clean):
    before, after = tree(master), tree(clean)
    detector = "entry/instrument/detector/"
    changed = {
        detector + "bit_depth_image": 32,
        detector + "bit_depth_readout": 32,
        detector + "saturation_value": 16 * 50_000,
        detector + "detectorSpecific/countrate_correction_count_cutoff": 16 * 45_000,
    }
    added = {detector + "data_scale_factor", detector + "data_scaling_factor"}
    assert {n for n in after.keys() - before.keys() if "tvjax" not in n} == added
    assert before.keys() <= after.keys()
    for name, (attributes, value) in before.items():
        np.testing.assert_equal(after[name][0], attributes, name)
        np.testing.assert_equal(after[name][1], changed.get(name, value), name)


def test_links_of_a_clone_are_links(clean):
    with h5py.File(clean) as file:
        link = file.get("entry/data/data_000002", getlink=True)
        assert (link.filename, link.path) == (
            "clean_data_000002.h5",
            "/entry/data/data",
        )
        mask = file.get("entry/instrument/detector/pixel_mask", getlink=True)
        assert isinstance(mask, h5py.SoftLink)
        assert file["entry/title"][()] == b"a crystal"
        assert list(file["entry/data"]) == ["data_000001", "data_000002", "data_000003"]
        assert (
            file["entry/sample/transformations/omega"]
            == (file["entry/sample/goniometer/omega"])
        )


def test_one_frame_is_one_chunk_of_bitshuffle_and_lz4(clean):
    with h5py.File(clean.with_name("clean_data_000001.h5")) as file:
        images = file["entry/data/data"]
        assert images.chunks == (1, 20, 30)
        creation = images.id.get_create_plist()
        code, _, options, _ = creation.get_filter(0)
        assert (creation.get_nfilters(), code, options[4]) == (1, 32008, 2)


def test_an_earlier_scale_is_carried_on(master, tmp_path):
    with h5py.File(master, "r+") as file:
        file["entry/instrument/detector/data_scale_factor"] = 0.1
    rewrite(master, tmp_path / "clean_master.h5")
    with h5py.File(tmp_path / "clean_master.h5") as file:
        factor = file["entry/instrument/detector/data_scale_factor"][()]
    assert factor == 0.1 / 16


def valid(path):
    with open_series(path) as series:
        return series.mask


def test_a_selection_is_numbered_anew_and_keeps_its_angles(master, tmp_path, counts):
    output = tmp_path / "part" / "scan_master.h5"
    rewrite(master, output, start=2, stop=6)
    with h5py.File(output) as file:
        specific = file["entry/instrument/detector/detectorSpecific"]
        assert (specific["nimages"][()], specific["ntrigger"][()]) == (4, 1)
        assert list(file["entry/data"]) == ["data_000001", "data_000002"]
        goniometer = file["entry/sample/goniometer"]
        np.testing.assert_array_equal(goniometer["omega"], [1.0, 1.5, 2.0, 2.5])
        assert goniometer["omega_range_total"][()] == 2.0
        ranges = [
            (images.attrs["image_nr_low"], images.attrs["image_nr_high"])
            for images in file["entry/data"].values()
        ]
    assert ranges == [(1, 1), (2, 4)]
    np.testing.assert_array_equal(
        counts_in(output), np.where(counts == MASKED, 0, counts)[2:6] * valid(master)
    )


def test_a_view_of_the_frames_leads_to_the_new_ones(master, tmp_path, counts):
    with h5py.File(master, "r+") as file:
        layout = h5py.VirtualLayout(counts.shape, np.uint32)
        for number, first in enumerate((0, 3, 6), 1):
            length = len(counts[first : first + 3])
            layout[first : first + length] = h5py.VirtualSource(
                f"scan_data_{number:06d}.h5", "entry/data/data", (length, 20, 30)
            )
        file.create_virtual_dataset("entry/view", layout)
    output = tmp_path / "clean" / "scan_master.h5"
    rewrite(master, output, start=2, stop=6)
    with h5py.File(output) as file:
        expected = np.where(counts == MASKED, MASKED, 16 * counts)[2:6]
        np.testing.assert_array_equal(file["entry/view"], expected)


def test_a_virtual_dataset_shows_what_it_showed(tmp_path):
    data = frames()
    source = write_nxstxm(tmp_path / "raw.h5", data)
    with h5py.File(source, "a") as file:
        for name in ("counter0", "control"):
            layout = h5py.VirtualLayout(data.shape, np.float32)
            layout[:] = h5py.VirtualSource(file[f"entry1/{name}/data"])
            file.create_virtual_dataset(f"views/{name}", layout)
    output = rewrite_stack(
        source, tmp_path / "clean.h5", dataset="entry1/counter0/data"
    )
    with h5py.File(output) as file:
        np.testing.assert_array_equal(file["views/counter0"], 2 * data)
        np.testing.assert_array_equal(file["views/control"], data)
