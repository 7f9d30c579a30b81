import h5py
import numpy as np
import pytest

from tests.io.masters import MASKED, numbers, write_data_file, write_master
from tests.io.rewriting import counts_in, plain_stack, rewrite, rewrite_stack, tree
from tests.io.stacks import frames, write_nxstxm
from tvjax.io import FileError, open_series, save_series


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


def shown(path, name):
    """Return the counts that tell the frames of a dataset apart."""
    with h5py.File(path) as file:
        return (file[name][..., 0, 0] / 16).tolist()


def taking_turns(folder):
    """Write a view of two numbered files that took turns, and more views of them."""
    raw = folder / "raw"
    raw.mkdir()
    view = h5py.VirtualLayout((6, 8, 9), np.uint32)
    for writer in range(2):
        with h5py.File(raw / f"part_{writer}.h5", "w") as file:
            file["data"] = numbers(6)[writer::2]
        source = h5py.VirtualSource(f"part_{writer}.h5", "data", (3, 8, 9))
        view[writer::2] = source
    with h5py.File(raw / "scan.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", view)
        for writer in range(2):
            file[f"entry/data/data_{writer + 1}"] = h5py.ExternalLink(
                f"part_{writer}.h5", "data"
            )
        file["entry/soft"] = h5py.SoftLink("/entry/data/data_2")
        grid = h5py.VirtualLayout((2, 3, 8, 9), np.uint32)
        for writer in range(2):
            source = h5py.VirtualSource(f"part_{writer}.h5", "data", (3, 8, 9))
            grid[writer] = source
        file.create_virtual_dataset("entry/grid", grid)
        last = h5py.VirtualLayout((8, 9), np.uint32)
        last[:] = h5py.VirtualSource(".", "entry/data/data", (6, 8, 9))[5]
        file.create_virtual_dataset("entry/last", last)
        file["entry/angle"] = np.arange(6.0)
    return raw / "scan.h5"


def test_every_name_of_the_images_shows_the_new_ones(tmp_path):
    output = tmp_path / "clean" / "scan.h5"
    source = taking_turns(tmp_path)
    with pytest.raises(FileError, match="/entry/grid"):
        open_series(source)  # they have two orders
    rewrite(source, output, dataset="entry/data/data")
    assert shown(output, "entry/data/data") == [1, 2, 3, 4, 5, 6]
    assert shown(output, "entry/data/data_1") == [1, 3, 5]
    assert shown(output, "entry/data/data_2") == [2, 4, 6]
    assert shown(output, "entry/soft") == [2, 4, 6]
    assert shown(output, "entry/grid") == [[1, 3, 5], [2, 4, 6]]
    assert shown(output, "entry/last") == 6


def test_every_name_of_the_images_shows_those_that_are_kept(tmp_path):
    output = tmp_path / "clean" / "scan.h5"
    rewrite(taking_turns(tmp_path), output, start=2, stop=3, dataset="entry/data/data")
    assert shown(output, "entry/data/data") == [3]
    assert shown(output, "entry/data/data_1") == [3]
    assert shown(output, "entry/grid") == [3]
    with h5py.File(output) as file:
        assert set(file["entry/data"]) == {"data", "data_1"}
        assert "soft" not in file["entry"] and "last" not in file["entry"]
        assert file["entry/angle"][()] == [2.0]


def test_a_view_beside_other_frames_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"], file["dark"] = numbers(2), numbers(1)
        mixed = h5py.VirtualLayout((3, 8, 9), np.uint32)
        mixed[:2] = h5py.VirtualSource(file["entry/data/data"])
        mixed[2:] = h5py.VirtualSource(file["dark"])
        file.create_virtual_dataset("mixed", mixed)
    with pytest.raises(FileError, match="beside other frames at /mixed"):
        rewrite(tmp_path / "a.h5", tmp_path / "b.h5", dataset="entry/data/data")


def test_views_of_what_is_no_image_lead_to_it_from_another_folder(tmp_path):
    with h5py.File(tmp_path / "dark.h5", "w") as file:
        file["dark"] = numbers(1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = numbers(2)
        view = h5py.VirtualLayout((1, 8, 9), np.uint32, maxshape=(None, 8, 9))
        view[:] = h5py.VirtualSource("dark.h5", "dark", (1, 8, 9))
        file.create_virtual_dataset("dark", view, fillvalue=7)
        part = h5py.VirtualLayout((2, 4, 9), np.uint32)
        part[:] = h5py.VirtualSource(".", "entry/data/data", (2, 8, 9))[:, :4]
        file.create_virtual_dataset("part", part)
    output = tmp_path / "clean" / "b.h5"
    rewrite(tmp_path / "a.h5", output, dataset="entry/data/data")
    with h5py.File(output) as file:
        assert file["dark"].is_virtual and file["dark"].fillvalue == 7
        assert file["dark"][0, 0, 0] == 1
    assert shown(output, "part") == [1, 2]
    with pytest.raises(FileError, match="parts of the images at /part.*--frames"):
        rewrite(
            tmp_path / "a.h5",
            tmp_path / "c.h5",
            stop=1,
            dataset="entry/data/data",
        )


def test_numbered_datasets_in_the_master_are_cut(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(4):
            file[f"entry/data/data_{number}"] = numbers(1, number)
        file["entry/third"] = h5py.SoftLink("data/data_3")
    rewrite(tmp_path / "a.h5", tmp_path / "b.h5", start=1, stop=3)
    with h5py.File(tmp_path / "b.h5") as file:
        assert list(file["entry/data"]) == ["data_0", "data_1"]
        assert "third" not in file["entry"]
    assert counts_in(tmp_path / "b.h5")[:, 0, 0].tolist() == [1, 2]


def test_a_link_to_the_group_of_the_images_leads_to_the_new_ones(tmp_path):
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["entry/detector/data"] = numbers(2)
        file["entry/detector"].attrs["NX_class"] = "NXdetector"
        file["entry/plot/data"] = h5py.SoftLink("/entry/detector/data")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/detector"] = h5py.ExternalLink("raw.h5", "/entry/detector")
        file["entry/plot"] = h5py.ExternalLink("raw.h5", "/entry/plot")
    before = (tmp_path / "raw.h5").read_bytes()
    output = tmp_path / "clean" / "scan.h5"
    rewrite(tmp_path / "scan.h5", output)
    for name in ("entry/detector/data", "entry/plot/data"):
        assert shown(output, name) == [1, 2]
    with h5py.File(output) as file:
        assert file["entry/detector/data_scale_factor"][()] == 1 / 16
        assert file["entry/detector/data"].attrs["denoised_by"]
    assert (tmp_path / "raw.h5").read_bytes() == before


def test_a_group_on_the_way_to_the_images_is_copied(tmp_path):
    with h5py.File(tmp_path / "eiger.h5", "w") as file:
        file["data"] = numbers(2)
    with h5py.File(tmp_path / "scans.h5", "w") as file:
        file["1.1/instrument/eiger/data"] = h5py.ExternalLink("eiger.h5", "data")
        file["1.1/measurement/eiger"] = h5py.SoftLink("/1.1/instrument/eiger/data")
        file["1.1/measurement/title"] = h5py.SoftLink("/1.1/title")
        file["1.1/title"] = "a scan"
        file["2.1/title"] = "another scan"
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["first"] = h5py.ExternalLink("scans.h5", "/1.1")
        file["second"] = h5py.ExternalLink("scans.h5", "/2.1")
    output = tmp_path / "clean" / "all.h5"
    rewrite(tmp_path / "all.h5", output, dataset="first/measurement/eiger")
    assert shown(output, "first/measurement/eiger") == [1, 2]
    assert shown(output, "first/instrument/eiger/data") == [1, 2]
    with h5py.File(output) as file:
        assert file["first/measurement/title"][()] == b"a scan"
        assert file["second/title"][()] == b"another scan"
        link = file.get("second", getlink=True)
        assert (link.filename, link.path) == ("../scans.h5", "/2.1")


def test_links_lead_from_the_new_folder_where_they_led(tmp_path):
    with h5py.File(tmp_path / "notes.h5", "w") as file:
        file["title"] = "a crystal"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = numbers(2)
        file["entry/title"] = h5py.ExternalLink("notes.h5", "/title")
        file["entry/later"] = h5py.ExternalLink("later.h5", "/title")
        file["entry/nowhere"] = h5py.SoftLink("/entry/nothing")
    rewrite(tmp_path / "a.h5", tmp_path / "clean" / "b.h5")
    with h5py.File(tmp_path / "later.h5", "w") as file:
        file["title"] = "written afterwards"
    with h5py.File(tmp_path / "clean" / "b.h5") as file:
        assert file["entry/title"][()] == b"a crystal"
        assert file["entry/later"][()] == b"written afterwards"
        assert file.get("entry/nowhere", getlink=True).path == "/entry/nothing"


def test_what_a_stopped_scan_has_is_written(master, tmp_path):
    master.with_name("scan_data_000003.h5").unlink()
    output = tmp_path / "clean" / "scan_master.h5"
    rewrite(master, output, start=2, stop=5, numbered=True)
    with h5py.File(output) as file:
        assert list(file["entry/data"]) == ["data_000001", "data_000002"]
        np.testing.assert_array_equal(
            file["entry/sample/goniometer/omega"], [1.0, 1.5, 2.0]
        )


def test_a_range_of_a_raster_is_refused(tmp_path, counts):
    source = raster(tmp_path, counts)
    with pytest.raises(FileError, match="no range of frames.*without --frames"):
        rewrite(source, tmp_path / "b.h5", stop=2)


def test_a_frame_that_is_shown_twice_is_kept_once_or_twice(tmp_path):
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["data"] = numbers(2)
    view = h5py.VirtualLayout((3, 8, 9), np.uint32)
    for place, frame in enumerate([0, 1, 0]):
        view[place] = h5py.VirtualSource("raw.h5", "data", (2, 8, 9))[frame]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", view)
        file["entry/other"] = h5py.ExternalLink("raw.h5", "data")
    options = {"dataset": "entry/data/data"}
    rewrite(tmp_path / "a.h5", tmp_path / "clean/b.h5", **options)
    assert shown(tmp_path / "clean/b.h5", "entry/data/data") == [1, 2, 1]
    assert shown(tmp_path / "clean/b.h5", "entry/other") == [1, 2]
    rewrite(tmp_path / "a.h5", tmp_path / "clean/c.h5", stop=1, **options)
    assert shown(tmp_path / "clean/c.h5", "entry/other") == [1]


def test_the_sources_of_a_view_are_not_overwritten(tmp_path):
    source = taking_turns(tmp_path)
    with pytest.raises(FileError, match="part_0.h5 is part of the input"):
        rewrite(
            source,
            source.with_name("part_0.h5"),
            dataset="entry/data/data",
            overwrite=True,
        )


def test_the_view_of_an_output_is_known_as_denoised(master, tmp_path):
    with h5py.File(master, "r+") as file:
        view = h5py.VirtualLayout((3, 20, 30), np.uint32)
        view[:] = h5py.VirtualSource(
            "scan_data_000001.h5", "entry/data/data", (3, 20, 30)
        )
        file.create_virtual_dataset("entry/first", view)
    output = tmp_path / "clean" / "scan_master.h5"
    rewrite(master, output, dataset="entry/data")
    with open_series(output, dataset="entry/first") as series:
        assert series.denoised_by == "tvjax 0.1.0"


def test_a_view_in_a_file_of_its_own_gives_the_order(tmp_path):
    source = taking_turns(tmp_path)
    with h5py.File(source.with_name("master.h5"), "w") as file:
        file["entry/data/data"] = h5py.ExternalLink("scan.h5", "entry/data/data")
        for writer in range(2):
            file[f"entry/data/data_{writer}"] = h5py.ExternalLink(
                f"part_{writer}.h5", "data"
            )
    output = tmp_path / "clean" / "master.h5"
    rewrite(source.with_name("master.h5"), output)
    assert shown(output, "entry/data/data") == [1, 2, 3, 4, 5, 6]
    assert shown(output, "entry/data/data_0") == [1, 3, 5]
    assert shown(output.with_name("scan.h5"), "entry/grid") == [[1, 3, 5], [2, 4, 6]]


def test_links_lead_out_of_a_folder_that_is_a_symbolic_link(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "clean").symlink_to(tmp_path / "disk" / "deep")
    with h5py.File(tmp_path / "raw/notes.h5", "w") as file:
        file["title"] = "a crystal"
    with h5py.File(tmp_path / "raw/a.h5", "w") as file:
        file["entry/data/data"] = numbers(2)
        file["entry/title"] = h5py.ExternalLink("notes.h5", "/title")
    rewrite(tmp_path / "raw/a.h5", tmp_path / "clean/b.h5")
    with h5py.File(tmp_path / "clean/b.h5") as file:
        assert file["entry/title"][()] == b"a crystal"


def elsewhere(tmp_path, name, value):
    """Another file, with a value under a name."""
    folder = tmp_path / "private"
    folder.mkdir()
    with h5py.File(folder / "secret.h5", "w") as file:
        file["value"] = value
    return h5py.ExternalLink("../private/secret.h5", "value")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("entry/instrument/detector/underload_value", np.arange(40.0)),
        ("entry/instrument/detector/data_scale_factor", np.ones((9, 20, 30))),
        ("entry/notes", np.arange(7.0)),
    ],
)
def test_a_link_named_as_metadata_copies_no_values_from_elsewhere(
    master, tmp_path, name, value
):
    with h5py.File(master, "a") as file:
        file[name] = elsewhere(tmp_path, name, value)
    rewrite(master, tmp_path / "clean" / "o_master.h5")
    with h5py.File(tmp_path / "clean" / "o_master.h5") as file:
        assert isinstance(file.get(name, getlink=True), h5py.ExternalLink)
        np.testing.assert_array_equal(file[name][()], value)


@pytest.mark.parametrize("shape", [(7,), (7, 20, 30)])
def test_values_of_each_frame_that_lie_elsewhere_are_not_cut(master, tmp_path, shape):
    with h5py.File(master, "a") as file:
        file["entry/notes"] = elsewhere(tmp_path, "notes", np.ones(shape))
    with pytest.raises(FileError, match=r"notes for each frame in .*secret.h5"):
        rewrite(master, tmp_path / "clean" / "o_master.h5", start=1, stop=3)


def test_a_limit_in_another_file_of_the_scan_is_corrected(master, tmp_path):
    with h5py.File(master.with_name("scan_meta.h5"), "w") as file:
        file["limit"] = np.full((20, 30), 100)
    with h5py.File(master, "a") as file:
        detector = file["entry/instrument/detector"]
        del detector["saturation_value"]
        detector["saturation_value"] = h5py.ExternalLink("scan_meta.h5", "limit")
    rewrite(master, tmp_path / "clean" / "o_master.h5")
    with h5py.File(tmp_path / "clean" / "o_master.h5") as file:
        assert (file["entry/instrument/detector/saturation_value"][()] == 1600).all()


def test_a_damaged_root_of_a_data_file_is_a_sentence(tmp_path):
    path = write_master(tmp_path / "raw_master.h5", numbers(2))
    data_file = tmp_path / "raw_data_000001.h5"
    content = bytearray(data_file.read_bytes())
    # more names of the root, far behind the end: only who counts its bytes looks there
    assert content[136:140] == b"TREE"
    content[152:160] = (2**31 - 1).to_bytes(8, "little")
    data_file.write_bytes(content)
    with open_series(path) as series:
        with pytest.raises(FileError, match="raw_data_000001.h5 is truncated or dama"):
            save_series(tmp_path / "clean_master.h5", series)
