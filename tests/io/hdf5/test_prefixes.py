import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.io.masters import numbers, write_data_file, write_master
from tests.io.rewriting import rewrite
from tvjax.io import FileError, open_series
from tvjax.io.hdf5.prefixes import linked_file, Reference
from tvjax.io.hdf5.tree import linked_files

FRAMES = numbers(3)


def folders(tmp_path):
    """One for the data, one for what leads to them, one for the output."""
    found = [tmp_path / name for name in ("data", "process", "clean")]
    for folder in found:
        folder.mkdir()
    return found


def link(path):
    """A master with a link to the images of m_s.h5."""
    with h5py.File(path, "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink("m_s.h5", "entry/data/data")


def view(path):
    """A virtual dataset of the images of m_s.h5."""
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    layout[:] = h5py.VirtualSource("m_s.h5", "entry/data/data", FRAMES.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)


def raw(path):
    """Images that lie in a file without a format."""
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "entry/data/data",
            FRAMES.shape,
            FRAMES.dtype,
            external=[("m_s.raw", 0, h5py.h5f.UNLIMITED)],
        )


WAYS = {link: Reference.LINK, view: Reference.VIRTUAL, raw: Reference.RAW}
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def prepare(tmp_path, way):
    data, process, clean = folders(tmp_path)
    write_data_file(data / "m_s.h5", FRAMES)
    FRAMES.tofile(data / "m_s.raw")
    way(process / "m.h5")
    return data, process / "m.h5", clean


def shown(path):
    with h5py.File(path) as file:
        images = file["entry/data"]
        return images[sorted(images)[0]][()]


def run(path, **variables):
    """Sum up the frames in a process of its own: HDF5 looks at some only once."""
    code = (
        "import sys; from tvjax.io import open_series\n"
        "with open_series(sys.argv[1]) as series:\n"
        "    print(*series.files, sum(int(f.data.sum()) for f in series.frames()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, path],
        env=os.environ | variables,
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.split()


@pytest.mark.parametrize("way", [link, view])
def test_files_are_found_where_the_environment_says(tmp_path, monkeypatch, way):
    data, master, clean = prepare(tmp_path, way)
    monkeypatch.chdir(clean)
    with pytest.raises(FileError, match="which is missing"):
        open_series(master)
    monkeypatch.setenv(WAYS[way].value, str(data))
    rewrite(master, clean / "clean.h5", scale=1)
    with open_series(master) as series:
        stored = [frame.data for frame in series.frames()]
    np.testing.assert_array_equal(stored, FRAMES)
    np.testing.assert_array_equal(shown(clean / "clean.h5"), FRAMES)


@pytest.mark.parametrize(
    ("way", "prefix"),
    [
        (raw, "../data"),
        pytest.param(raw, "${ORIGIN}/../data", marks=pytest.mark.slow),
        pytest.param(view, "${ORIGIN}/../data", marks=pytest.mark.slow),
    ],
)
def test_prefixes_are_read_as_hdf5_reads_them(tmp_path, way, prefix):
    _, master, _ = prepare(tmp_path, way)
    *files, total = run(master, **{WAYS[way].value: prefix})
    assert int(total) == FRAMES.sum()
    assert len(files) == (2 if way is view else 1)


def test_raw_data_that_are_missing_are_called_so(tmp_path):
    _, master, _ = prepare(tmp_path, raw)
    with pytest.raises(FileError, match="m_s.raw, which is missing.*EXTFILE"):
        open_series(master)


@each_way
def test_what_the_environment_leads_to_is_an_input(tmp_path, monkeypatch, way):
    data, master, _ = prepare(tmp_path, way)
    monkeypatch.setenv(WAYS[way].value, str(data))
    with h5py.File(master) as file:
        assert linked_files(file) == {data / ("m_s.raw" if way is raw else "m_s.h5")}


def test_an_output_that_would_show_the_raw_frames_is_refused(tmp_path, monkeypatch):
    """HDF5 would find the raw data file before the one beside the new master."""
    data, process, clean = folders(tmp_path)
    write_master(data / "a_master.h5", FRAMES)
    monkeypatch.setenv("HDF5_EXT_PREFIX", str(data))
    with pytest.raises(FileError, match="unset HDF5_EXT_PREFIX"):
        rewrite(data / "a_master.h5", clean / "a_master.h5")
    assert not list(clean.glob("*"))
    rewrite(data / "a_master.h5", clean / "b_master.h5", scale=1)
    np.testing.assert_array_equal(shown(clean / "b_master.h5"), FRAMES)


def test_folders_are_searched_in_the_order_of_hdf5(tmp_path, monkeypatch):
    first, second, beside = folders(tmp_path)
    monkeypatch.setenv("HDF5_VDS_PREFIX", f"{first}:{second}")
    holder = beside / "m.h5"

    def found():
        place = linked_file(holder, "m_s.h5", Reference.VIRTUAL)
        return place and place.parent

    assert found() is None
    for folder in (beside, second, first):
        (folder / "m_s.h5").touch()
        assert found() == folder
    monkeypatch.delenv("HDF5_VDS_PREFIX")
    assert found() == beside
