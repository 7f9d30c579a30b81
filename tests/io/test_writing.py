import json

import fabio
import h5py
import numpy as np
import pytest
import tifffile

from tests.io.masters import MASKED, write_data_file
from tvjax.io import (
    create_series,
    FileError,
    Metadata,
    open_series,
    Provenance,
    save_series,
    series_of,
)


def provenance(num_frames=7):
    return Provenance(
        settings={"alpha": "auto", "scale": 16},
        inputs=("scan_master.h5",),
        frames=(0, num_frames),
        noise={"model": "Poisson", "gain": 1.0},
        results={
            "alpha": (0.5,) * num_frames,
            "gap": (1e-4,) * num_frames,
            "converged": (True,) * num_frames,
        },
    )


def rewrite(
    source, output, change=lambda image: image, *, start=0, stop=None, **options
):
    """Read, change and write; return the writer's tally."""
    with open_series(source) as series:
        stop = series.num_frames if stop is None else stop
        with create_series(output, series, start=start, stop=stop, **options) as writer:
            for frame in series.frames(start, stop):
                writer.write(change(frame.data.astype(np.float32)), frame)
            writer.finish(provenance(stop - start))
    return writer.tally


def counts_in(path):
    """Return all frames of a denoised file in counts, zero at invalid pixels."""
    with open_series(path) as series:
        scale = 1 if series.dtype.kind == "f" else 16
        return np.stack([np.where(f.mask, f.data, 0) / scale for f in series.frames()])


def tree(path):
    """Return attributes and value of everything in an HDF5 file, images apart."""
    found = {}

    def visit(name, item):
        value = item[()] if isinstance(item, h5py.Dataset) and item.ndim < 3 else None
        found[name] = (dict(item.attrs), value)

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


# Layouts


def data_file(folder, counts):
    return write_data_file(folder / "scan_data_000001.h5", counts)


def plain_stack(folder, counts):
    with h5py.File(folder / "stack.h5", "w") as file:
        file["images"] = counts
    return folder / "stack.h5"


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


# Masters


@pytest.fixture
def clean(master, tmp_path):
    output = tmp_path / "clean" / "clean_master.h5"
    rewrite(master, output)
    return output


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


def test_fabio_counts_the_frames_of_a_clone(clean, counts):
    with fabio.open(str(clean)) as image:
        assert image.nframes == len(counts)
        expected = np.where(counts[4] == MASKED, MASKED, 16 * counts[4])
        np.testing.assert_array_equal(image.getframe(4).data, expected)


def test_one_frame_is_one_chunk_of_bitshuffle_and_lz4(clean):
    with h5py.File(clean.with_name("clean_data_000001.h5")) as file:
        images = file["entry/data/data"]
        assert images.chunks == (1, 20, 30)
        creation = images.id.get_create_plist()
        code, _, options, _ = creation.get_filter(0)
        assert (creation.get_nfilters(), code, options[4]) == (1, 32008, 2)


def test_the_scale_is_published(clean):
    with h5py.File(clean) as file:
        detector = file["entry/instrument/detector"]
        assert detector["data_scale_factor"][()] == 1 / 16
        assert detector["data_scaling_factor"][()] == 1 / 16


def test_an_earlier_scale_is_carried_on(master, tmp_path):
    with h5py.File(master, "r+") as file:
        file["entry/instrument/detector/data_scale_factor"] = 0.1
    rewrite(master, tmp_path / "clean_master.h5")
    with h5py.File(tmp_path / "clean_master.h5") as file:
        factor = file["entry/instrument/detector/data_scale_factor"][()]
    assert factor == 0.1 / 16


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


def valid(path):
    with open_series(path) as series:
        return series.mask


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


# Values


def test_a_pixel_outside_the_mask_leaves_as_it_came(clean, counts):
    with open_series(clean) as series:
        frame = next(series.frames())
    assert not frame.mask[2, 3] and frame.data[2, 3] == 16 * counts[0, 2, 3]
    assert (frame.data[9:11] == MASKED).all()


def test_fractions_of_a_count_survive(tmp_path, counts):
    stack = plain_stack(tmp_path, counts)
    tally = rewrite(stack, tmp_path / "clean.h5", lambda image: 0 * image + 0.3)
    stored = counts_in(tmp_path / "clean.h5")
    assert set(np.unique(stored)) == {0, 5 / 16}  # 0.3 to the nearest sixteenth
    assert tally.counts_out == np.count_nonzero(stored) * 5 / 16


def test_negative_and_saturated_pixels_are_counted(master, tmp_path):
    def change(image):
        image = image.copy()
        image[0, :3] = -1, -0.01, 1e10
        image[2, 3] = -5  # invalid, hence left as it came
        return image

    with h5py.File(master.with_name("scan_data_000001.h5"), "r+") as file:
        file["entry/data/data"][0, 1, 1] = 50_000
    tally = rewrite(master, tmp_path / "clean_master.h5", change)
    assert tally.negative == 7  # −0.01 rounds to zero
    assert tally.saturated == 8
    with open_series(tmp_path / "clean_master.h5") as series:
        frame = next(series.frames())
    assert frame.data[0, :3].tolist() == [0, 0, 2**31 - 3]


def test_floats_keep_their_values_and_mark_with_nan(master, tmp_path, counts):
    output = tmp_path / "clean_master.h5"
    rewrite(master, output, lambda image: image + 0.1, dtype="float32")
    with open_series(output) as series:
        assert series.dtype == np.float32
        frame = next(series.frames())
    assert np.isnan(frame.data[9:11]).all()
    expected = (counts[0] + np.float32(0.1)).astype(np.float32)
    np.testing.assert_array_equal(frame.data[frame.mask], expected[frame.mask])
    with h5py.File(output) as file:
        detector = file["entry/instrument/detector"]
        assert "data_scale_factor" not in detector
        assert detector["saturation_value"][()] == 50_000


def test_floats_stay_floats(tmp_path):
    stack = np.linspace(0, 1, 60, dtype=np.float64).reshape(1, 6, 10)
    with h5py.File(tmp_path / "density.h5", "w") as file:
        file["density"] = stack
    rewrite(tmp_path / "density.h5", tmp_path / "clean.h5")
    with open_series(tmp_path / "clean.h5") as series:
        assert series.dtype == np.float32
        np.testing.assert_allclose(next(series.frames()).data, stack[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("clean.cbf", {"dtype": "float32"}, "cannot hold float32"),
        ("clean.h5", {"dtype": "float32", "scale": 16}, "makes no sense"),
        ("clean.h5", {"scale": 0}, "makes no sense"),
        ("clean.png", {}, "no extension that tvjax writes"),
    ],
)
def test_an_impossible_encoding_is_refused(master, tmp_path, name, options, reason):
    with pytest.raises(FileError, match=reason):
        rewrite(master, tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


# Other formats


@pytest.fixture
def cbf(tmp_path, counts):
    """A denoised CBF series made from the header of a raw one."""
    image = np.where(counts[0] == MASKED, -1, counts[0].astype(np.int64)).astype(
        np.int32
    )
    image[5, 5] = -2
    raw = tmp_path / "raw_00001.cbf"
    fabio.cbfimage.CbfImage(data=image).write(str(raw))
    _, section, rest = raw.read_bytes().partition(b"--CIF-BINARY-FORMAT-SECTION--")
    raw.write_bytes(CBF_TEXT.encode() + section + rest)
    rewrite(raw, tmp_path / "clean.cbf")
    return raw, tmp_path / "clean.cbf"


CBF_TEXT = """###CBF: VERSION 1.5\r
\r
data_raw_00001\r
_array_data.header_convention "PILATUS_1.2"\r
_array_data.header_contents\r
;\r
# Detector: PILATUS 2M\r
# Count_cutoff 388705 counts\r
# Start_angle -145.0000 deg.\r
;\r
loop_\r
_array_intensities.array_id\r
_array_intensities.gain\r
_array_intensities.overload\r
_array_intensities.undefined_value\r
ARRAY1 1.0 388705 -1\r
_array_data.data\r
;\r
"""


def test_cbf_keeps_marks_and_fabio_reads_it(cbf):
    raw, clean = (fabio.open(str(path)).data for path in cbf)
    np.testing.assert_array_equal(clean, np.where(raw < 0, raw, 16 * raw))


def test_cbf_keeps_its_text_with_limits_as_stored(cbf):
    text = cbf[1].read_bytes().partition(b"--CIF-BINARY")[0].decode()
    expected = (
        CBF_TEXT.replace("388705 counts", "6219280 counts")
        .replace("ARRAY1 1.0 388705 -1", "ARRAY1 16 6219280 -1")
        .replace("2M\r\n", "2M\r\n# Denoised_by tvjax 0.1.0, stored = 16 x counts\r\n")
    )
    assert text == expected


def test_cbf_and_tiff_leave_the_provenance_beside_them(cbf):
    record = json.loads(cbf[1].with_name("clean.tvjax.json").read_text())
    assert record["program"] == "tvjax"
    assert record["alpha"] == [0.5]
    assert record["scale"] == 16


def test_a_series_of_images_is_numbered(master, tmp_path, counts):
    rewrite(master, tmp_path / "clean" / "x.cbf", start=1, stop=3)
    rewrite(master, tmp_path / "clean" / "y_##.tif", start=1, stop=3)
    names = sorted(path.name for path in (tmp_path / "clean").iterdir())
    assert names == [
        "x.tvjax.json",
        "x_00001.cbf",
        "x_00002.cbf",
        "y.tvjax.json",
        "y_01.tif",
        "y_02.tif",
    ]
    expected = np.where(counts == MASKED, 0, counts)[1:3]
    np.testing.assert_array_equal(counts_in(str(tmp_path / "clean/x_*.cbf")), expected)
    np.testing.assert_array_equal(counts_in(str(tmp_path / "clean/y_*.tif")), expected)


def test_pages_return_as_pages_with_their_descriptions(tmp_path):
    stack = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)
    with tifffile.TiffWriter(tmp_path / "raw.tif") as writer:
        for number, page in enumerate(stack):
            writer.write(page, description=f"page {number}", metadata=None)
    rewrite(tmp_path / "raw.tif", tmp_path / "clean.tif")
    with tifffile.TiffFile(tmp_path / "clean.tif") as tiff:
        assert [page.description for page in tiff.pages] == [
            "page 0",
            "page 1",
            "page 2",
        ]
        assert tiff.pages[0].software == "tvjax 0.1.0"
        np.testing.assert_array_equal(tiff.asarray(), 16 * stack.astype(int))


def test_other_formats_become_an_nxmx_master(cbf, tmp_path):
    rewrite(cbf[0], tmp_path / "new_master.h5")
    with h5py.File(tmp_path / "new_master.h5") as file:
        assert file["entry/definition"][()] == b"NXmx"
        link = file.get("entry/data/data_000001", getlink=True)
        assert link.filename == "new_data_000001.h5"
        detector = file["entry/instrument/detector"]
        np.testing.assert_array_equal(
            detector["pixel_mask"], fabio.open(str(cbf[0])).data < 0
        )
        assert detector["saturation_value"][()] == 16 * 388705
        assert file["entry/sample/goniometer/omega"][()] == [-145.0]
    with fabio.open(str(tmp_path / "new_master.h5")) as image:
        assert image.nframes == 1


def test_a_new_master_spreads_its_frames_over_data_files(tmp_path, monkeypatch, counts):
    monkeypatch.setattr("tvjax.io.hdf5.write_frames.FRAMES_PER_FILE", 3)
    series = series_of(counts, metadata=Metadata(start_angle=-10, angle_increment=0.5))
    output = tmp_path / "sim_master.h5"
    save_series(output, series)
    with open_series(output) as written:
        assert [each.num_frames for each in written.layout.datasets] == [3, 3, 1]
        assert written.denoised_by is None
        assert written.metadata.start_angle == -10
        frames = np.stack([frame.data for frame in written.frames()])
    np.testing.assert_array_equal(frames, counts)


# Provenance


def test_provenance_is_an_nxprocess_in_the_entry(clean):
    with h5py.File(clean) as file:
        process = file["entry/tvjax"]
        assert process.attrs["NX_class"] == "NXprocess"
        assert process["program"][()] == b"tvjax"
        assert process["version"][()] == b"0.1.0"
        assert process["sequence_index"][()] == 1
        assert json.loads(process["settings"][()])["alpha"] == "auto"
        assert json.loads(process["noise"][()])["model"] == "Poisson"
        assert process["inputs"][0] == b"scan_master.h5"
        np.testing.assert_array_equal(process["alpha"], [0.5] * 7)
        np.testing.assert_array_equal(process["gap"], [1e-4] * 7)
        assert process["scale"][()] == 16
        assert json.loads(process["tally"][()])["negative"] == 0


@pytest.mark.parametrize("name", ["clean_master.h5", "clean_data_000002.h5"])
def test_denoised_hdf5_is_recognized_by_any_of_its_files(clean, name):
    with open_series(clean.with_name(name)) as series:
        assert series.denoised_by == "tvjax 0.1.0"


@pytest.mark.parametrize("name", ["x.cbf", "x.tif"])
def test_denoised_images_are_recognized(master, tmp_path, name):
    rewrite(master, tmp_path / name, stop=1)
    with open_series(tmp_path / name) as series:
        assert series.denoised_by == "tvjax 0.1.0"


def test_a_second_process_is_numbered_two(clean):
    output = clean.with_name("again_master.h5")
    rewrite(clean, output)
    with h5py.File(output) as file:
        assert file["entry/tvjax_2/sequence_index"][()] == 2


def test_integrators_get_their_lines(master, tmp_path):
    output = tmp_path / "clean" / "clean_master.h5"
    rewrite(master, output, emit=("xds", "dials", "crystfel"))
    read = {path.suffixes[0]: path.read_text() for path in output.parent.glob("*.*.*")}
    assert read[".XDS"] == "GAIN= 16\nOVERLOAD= 800000\n"
    assert "geometry.detector.panel.gain = 16\n" in read[".dials"]
    assert "adu_per_photon = 16\nflag_morethan = 2147483645\n" == read[".crystfel"]
