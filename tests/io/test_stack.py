import json

import h5py
import numpy as np
import pytest
import tifffile

from tests.io.disk import tiny_disk
from tests.io.stacks import (
    ENERGIES,
    frames,
    write_numbered,
    write_nxstxm,
    write_plain,
    write_tiff,
)
from tvjax.io import (
    create_stack,
    FileError,
    open_stack,
    Provenance,
    save_stack,
    stack_of,
)
from tvjax.io.hdf5.layout import FrameDataset

PROVENANCE = Provenance(
    settings={"rank": "auto"},
    inputs=("stack.h5",),
    frames=(0, 5),
    noise={"model": "auto"},
    results={"rank": 2, "shifts": [[0.0, 1.0]] * 5, "names": ["a", "b"]},
)


def rewrite(source, output, **options):
    """Read, double, and write."""
    with open_stack(source, **options) as stack, create_stack(output, stack) as writer:
        for frame in stack.series.frames():
            writer.write(2 * frame.data, frame)
        writer.finish(PROVENANCE)
    return output


@pytest.fixture
def data():
    return frames()


# Reading


@pytest.mark.parametrize("axes", ["EYX", "EXY", "YXE", "XYE", "YEX", "XEY"])
def test_axes_are_those_that_nexus_tells_and_return(tmp_path, data, axes):
    source = write_nxstxm(tmp_path / "raw.h5", data, axes)
    output = rewrite(source, tmp_path / "clean.h5")
    with open_stack(source) as stack:
        np.testing.assert_array_equal(stack[1:3, 4:6], data[1:3, 4:6])
    with h5py.File(source) as before, h5py.File(output) as after:
        old, new = before["entry1/counter0/data"], after["entry1/counter0/data"]
        np.testing.assert_array_equal(new[()], 2 * old[()])
        sizes = dict(zip("EYX", (1, *data.shape[1:]), strict=True))
        assert new.chunks == tuple(sizes[axis] for axis in axes)
        np.testing.assert_array_equal(after["entry1/copy"], new)
        np.testing.assert_array_equal(
            after["entry1/control/data"], before["entry1/control/data"]
        )
        assert after["entry1/title"][()] == b"a particle"
        assert after["entry1/tvjax/rank"][()] == 2
        assert after["entry1/tvjax/shifts"].shape == (5, 2)
    with open_stack(output) as stack:
        np.testing.assert_array_equal(stack[:], 2 * data)
        np.testing.assert_array_equal(stack.energies, ENERGIES)


def test_axes_may_be_told(tmp_path, data):
    source = write_plain(tmp_path / "raw.h5", data.transpose(1, 2, 0))
    output = rewrite(source, tmp_path / "clean.h5", axes="YXE")
    with h5py.File(output) as file:
        np.testing.assert_array_equal(file["stack"], 2 * data.transpose(1, 2, 0))
        assert file["stack"].chunks == (12, 17, 1)
    with open_stack(source, axes="YXE") as stack:
        assert stack.shape == data.shape
        np.testing.assert_array_equal(stack.energies, ENERGIES)


@pytest.mark.parametrize("write", [write_tiff, write_plain])
def test_pages_and_plain_datasets(tmp_path, data, write):
    source = write(tmp_path / "raw.any", data)
    with open_stack(source, energies="700:704:5") as stack:
        np.testing.assert_array_equal(stack[:], data)
        np.testing.assert_array_equal(stack[2:4, 3:-2], data[2:4, 3:-2])
        np.testing.assert_array_equal(stack.energies, [700, 701, 702, 703, 704])
        assert (stack.shape, stack.dtype) == (data.shape, np.float32)


def test_a_series_of_tiff_files_becomes_one_again(tmp_path, data):
    source = write_numbered(tmp_path, data)
    rewrite(source, tmp_path / "clean_###.tif")
    np.testing.assert_array_equal(
        tifffile.imread(sorted(tmp_path.glob("clean_*.tif"))), 2 * data
    )
    record = json.loads((tmp_path / "clean.tvjax.json").read_text())
    assert record["rank"] == 2 and record["tally"]["negative"] == 0


@pytest.mark.parametrize("name", ["clean.tif", "clean.h5"])
def test_pages_become_pages_or_nexus(tmp_path, data, name):
    source = write_tiff(tmp_path / "raw.tif", data)
    output = rewrite(source, tmp_path / name, energies="700:704:5")
    with open_stack(output) as stack:
        np.testing.assert_array_equal(stack[:], 2 * data)
        assert stack.series.denoised_by.startswith("tvjax ")
        if name.endswith("h5"):
            np.testing.assert_array_equal(stack.energies, [700, 701, 702, 703, 704])


def test_hdf5_becomes_tiff(tmp_path, data):
    source = write_nxstxm(tmp_path / "raw.h5", data, "YXE")
    np.testing.assert_array_equal(
        tifffile.imread(rewrite(source, tmp_path / "clean.tif")), 2 * data
    )


def test_integers_become_floats_and_marks_become_nan(tmp_path):
    counts = np.arange(5 * 12 * 17, dtype=np.uint16).reshape(5, 12, 17)
    counts[:, 3, 4] = 2**16 - 1
    source = write_plain(tmp_path / "raw.h5", counts)
    output = rewrite(source, tmp_path / "clean.h5")
    with h5py.File(output) as file:
        assert file["stack"].dtype == np.float32
        assert np.isnan(file["stack"][:, 3, 4]).all()
        assert np.isnan(file["stack"]).sum() == 5
    with open_stack(source) as stack:
        assert (stack[:, 3:4][..., 4] == 0).all()


def test_only_what_is_asked_for_is_read(tmp_path, data, monkeypatch):
    source = write_plain(tmp_path / "raw.h5", data)
    read = []
    cut = FrameDataset.cut

    def watched(dataset, frames, rows):
        part = cut(dataset, frames, rows)
        read.append(part.size)
        return part

    monkeypatch.setattr(FrameDataset, "cut", watched)
    with open_stack(source) as stack:
        assert sum(read) == 0
        assert stack[1:4, 2:7].shape == (3, 5, 17)
    assert sum(read) == 3 * 5 * 17


def test_a_virtual_dataset_shows_what_it_showed(tmp_path, data):
    source = write_nxstxm(tmp_path / "raw.h5", data)
    with h5py.File(source, "a") as file:
        for name in ("counter0", "control"):
            layout = h5py.VirtualLayout(data.shape, np.float32)
            layout[:] = h5py.VirtualSource(file[f"entry1/{name}/data"])
            file.create_virtual_dataset(f"views/{name}", layout)
    output = rewrite(source, tmp_path / "clean.h5", dataset="entry1/counter0/data")
    with h5py.File(output) as file:
        np.testing.assert_array_equal(file["views/counter0"], 2 * data)
        np.testing.assert_array_equal(file["views/control"], data)


def test_a_stack_in_memory_can_be_written(tmp_path, data):
    save_stack(tmp_path / "raw.h5", stack_of(data, ENERGIES, unit="optical density"))
    with open_stack(tmp_path / "raw.h5") as stack:
        np.testing.assert_array_equal(stack[:], data)
        np.testing.assert_array_equal(stack.energies, ENERGIES)
        assert stack.series.denoised_by is None
    with h5py.File(tmp_path / "raw.h5") as file:
        assert file["entry/data/data"].attrs["units"] == "optical density"


# Energies


@pytest.mark.parametrize(
    ("name", "unit", "scale"),
    [("energy", "keV", 1), ("energy", "eV", 1000), ("energy", "", 1)],
)
def test_energies_are_in_ev(tmp_path, data, name, unit, scale):
    kilo = np.linspace(8.2, 8.6, 5)
    source = write_nxstxm(tmp_path / "a.h5", data, energies=kilo * scale, unit=unit)
    with open_stack(source) as stack:
        np.testing.assert_allclose(stack.energies, 1000 * kilo)


def test_energies_come_from_a_file_a_range_or_a_dataset(tmp_path, data):
    source = write_plain(tmp_path / "raw.h5", data, energies=None)
    (tmp_path / "list.txt").write_text("# keV\n8.2\n8.3\n8.4\n8.5\n8.6\n")
    other = write_plain(tmp_path / "other.h5", data, energies=ENERGIES)
    for wanted, expected in {
        None: None,
        "none": None,
        str(tmp_path / "list.txt"): [8200, 8300, 8400, 8500, 8600],
        "8.2:8.6:5": [8200, 8300, 8400, 8500, 8600],
        f"{other}:energy_eV": ENERGIES,
    }.items():
        with open_stack(source, energies=wanted) as stack:
            if expected is None:
                assert stack.energies is None
            else:
                np.testing.assert_allclose(stack.energies, expected)


@pytest.mark.parametrize(
    ("energies", "sentence"),
    [
        ([700, 701, 701, 702, 703], "repeats the energy 701 eV, in the frames 1, 2"),
        ([700, 702, 701, 703, 704], "702 eV of frame 1 is followed by 701 eV"),
        ([700, np.nan, 701, 703, 704], "no number as energy of frame 1"),
    ],
)
def test_energies_that_make_no_sense(tmp_path, data, energies, sentence):
    source = write_plain(tmp_path / "raw.h5", data, energies=np.array(energies, float))
    with pytest.raises(FileError, match=sentence):
        open_stack(source)
    with open_stack(source, energies="none") as stack:
        assert stack.energies is None


def test_energies_may_fall(tmp_path, data):
    with open_stack(
        write_plain(tmp_path / "raw.h5", data, energies=ENERGIES[::-1])
    ) as stack:
        np.testing.assert_array_equal(stack.energies, ENERGIES[::-1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"energies": "700:704:6"}, "has 6 energies, .* 5 frames"),
        ({"energies": "RAW:nothing"}, "has no dataset nothing"),
        ({"energies": "none.txt"}, "none.txt does not exist"),
        ({"dataset": "nothing"}, "holds no images at /nothing: choose one of /i0"),
    ],
)
def test_what_is_not_there(tmp_path, data, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    write_plain(tmp_path / "RAW", data)
    with pytest.raises(FileError, match=sentence):
        open_stack("RAW", **options)


def test_two_lists_of_energies(tmp_path, data):
    source = write_plain(tmp_path / "raw.h5", data)
    with h5py.File(source, "a") as file:
        file["photon_energy"] = ENERGIES + 1
    with pytest.raises(FileError, match="several lists of energies, .*--energies"):
        open_stack(source)
    with open_stack(source, energies=f"{source}:photon_energy") as stack:
        assert stack.energies[0] == 701


def test_a_truncated_stack_is_named(tmp_path, data):
    for source in (
        write_plain(tmp_path / "raw.h5", data),
        write_tiff(tmp_path / "raw.tif", data),
    ):
        source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
        with pytest.raises(FileError, match=f"{source.name} is truncated or damaged"):
            open_stack(source)


def test_one_frame_is_no_stack(tmp_path, data):
    with pytest.raises(FileError, match="holds one frame: a stack needs two energies"):
        open_stack(write_tiff(tmp_path / "raw.tif", data[0]))
    with pytest.raises(FileError, match="holds one frame"):
        open_stack(write_plain(tmp_path / "raw.h5", data[:1], energies=None))


def test_axes_of_images_are_fixed(tmp_path, data):
    with pytest.raises(FileError, match="drop --axes"):
        open_stack(write_tiff(tmp_path / "raw.tif", data), axes="YXE")


# Writing


@pytest.mark.parametrize("name", ["clean.h5", "clean.tif", "clean_###.tif"])
def test_an_interrupted_output_leaves_nothing(tmp_path, data, name):
    source = write_nxstxm(tmp_path / "raw.h5", data, "YXE")
    before = source.read_bytes()
    with open_stack(source) as stack, pytest.raises(KeyboardInterrupt):
        with create_stack(tmp_path / name, stack) as writer:
            writer.attach(tmp_path / "map.h5", lambda file: file.write(b"map"))
            for frame in stack.series.frames(0, 3):
                writer.write(frame.data, frame)
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5"]
    assert source.read_bytes() == before


@pytest.mark.parametrize("name", ["clean.h5", "clean.tif", "clean_###.tif"])
def test_a_full_disk_gets_a_sentence_and_leaves_nothing(tmp_path, name):
    noise = np.random.default_rng(0).normal(size=(4, 60, 70)).astype(np.float32)
    stack = stack_of(noise)
    full = pytest.raises(FileError, match="clean.* disk is full or a quota is reached")
    with full, tiny_disk(), create_stack(tmp_path / name, stack) as writer:
        for frame in stack.series.frames():
            writer.write(frame.data, frame)
        writer.finish()
    assert not list(tmp_path.iterdir())


def test_an_attached_file_appears_with_the_output(tmp_path, data):
    with create_stack(tmp_path / "clean.h5", stack_of(data)) as writer:
        writer.attach(tmp_path / "map.h5", lambda file: file.write(b"map"))
        for frame in stack_of(data).series.frames():
            writer.write(frame.data, frame)
        assert not (tmp_path / "map.h5").exists()
        writer.finish()
    assert (tmp_path / "map.h5").read_bytes() == b"map"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("raw.h5", "is part of the input and would be lost"),
        ("clean.cbf", "cannot hold floats"),
        ("taken.h5", "taken.h5 exists"),
        ("clean.png", "no extension that tvjax writes"),
    ],
)
def test_outputs_that_are_refused(tmp_path, data, name, sentence):
    source = write_plain(tmp_path / "raw.h5", data)
    (tmp_path / "taken.h5").write_text("precious")
    with open_stack(source) as stack, pytest.raises(FileError, match=sentence):
        create_stack(tmp_path / name, stack)
    assert (tmp_path / "taken.h5").read_text() == "precious"
