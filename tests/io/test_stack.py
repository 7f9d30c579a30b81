import json

import h5py
import numpy as np
import pytest
import tifffile

from tests.io.rewriting import rewrite_stack
from tests.io.stacks import (
    ENERGIES,
    frames,
    write_numbered,
    write_nxstxm,
    write_plain,
    write_tiff,
)
from tvjax.io import FileError, open_stack
from tvjax.io.hdf5.layout import FrameDataset


@pytest.fixture
def data():
    return frames()


@pytest.mark.parametrize("axes", ["EYX", "EXY", "YXE", "XYE", "YEX", "XEY"])
def test_axes_are_those_that_nexus_tells_and_return(tmp_path, data, axes):
    source = write_nxstxm(tmp_path / "raw.h5", data, axes)
    output = rewrite_stack(source, tmp_path / "clean.h5")
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
    output = rewrite_stack(source, tmp_path / "clean.h5", axes="YXE")
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
    rewrite_stack(source, tmp_path / "clean_###.tif")
    np.testing.assert_array_equal(
        tifffile.imread(sorted(tmp_path.glob("clean_*.tif"))), 2 * data
    )
    record = json.loads((tmp_path / "clean.tvjax.json").read_text())
    assert record["rank"] == 2 and record["tally"]["negative"] == 0


@pytest.mark.parametrize("name", ["clean.tif", "clean.h5"])
def test_pages_become_pages_or_nexus(tmp_path, data, name):
    source = write_tiff(tmp_path / "raw.tif", data)
    output = rewrite_stack(source, tmp_path / name, energies="700:704:5")
    with open_stack(output) as stack:
        np.testing.assert_array_equal(stack[:], 2 * data)
        assert stack.series.denoised_by.startswith("tvjax ")
        if name.endswith("h5"):
            np.testing.assert_array_equal(stack.energies, [700, 701, 702, 703, 704])


def test_hdf5_becomes_tiff(tmp_path, data):
    source = write_nxstxm(tmp_path / "raw.h5", data, "YXE")
    np.testing.assert_array_equal(
        tifffile.imread(rewrite_stack(source, tmp_path / "clean.tif")), 2 * data
    )


def test_integers_become_floats_and_marks_become_nan(tmp_path):
    counts = np.arange(5 * 12 * 17, dtype=np.uint16).reshape(5, 12, 17)
    counts[:, 3, 4] = 2**16 - 1
    source = write_plain(tmp_path / "raw.h5", counts)
    output = rewrite_stack(source, tmp_path / "clean.h5")
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
