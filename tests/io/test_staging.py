import errno
import os
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.io.disk import tiny_disk
from tvjax.io import create_series, FileError, open_series, Series, series_of
from tvjax.io.invalid_values import InvalidValues

OUTPUTS = ["clean_master.h5", "clean.h5", "clean.cbf", "clean.tif"]


def write(series, output, **options):
    with create_series(output, series, **options) as writer:
        for frame in series.frames():
            writer.write(frame.data.astype(float), frame)
        writer.finish()


@pytest.fixture
def series(counts):
    return series_of(counts)


@pytest.mark.parametrize("name", OUTPUTS)
def test_nothing_has_its_final_name_before_the_end(series, tmp_path, name):
    with create_series(tmp_path / name, series) as writer:
        for frame in series.frames():
            writer.write(frame.data.astype(float), frame)
        written = list(tmp_path.iterdir())
        assert all(path.name.endswith(".partial") for path in written)
        writer.finish()
    assert not any(path.name.endswith(".partial") for path in tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, FileError])
@pytest.mark.parametrize("name", OUTPUTS)
def test_an_interrupted_output_leaves_nothing(series, tmp_path, name, error):
    with pytest.raises(error):
        with create_series(tmp_path / name, series) as writer:
            frames = series.frames()
            for _ in range(4):
                frame = next(frames)
                writer.write(frame.data.astype(float), frame)
            raise error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_full_disk_gets_a_sentence_and_leaves_nothing(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 1000, (7, 60, 70)).astype(np.uint32)
    full = pytest.raises(FileError, match="clean.* disk is full or a quota is reached")
    with full, tiny_disk():
        write(series_of(noise), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_network_disk_that_is_full_at_the_end_leaves_nothing(
    series, tmp_path, monkeypatch
):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="disk is full"):
        write(series, tmp_path / "clean_master.h5")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_written_is_named(series, tmp_path, monkeypatch):
    usual = Path.open

    def refuse(path, *arguments, **options):
        if path.parent == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return usual(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match="clean.h5 cannot be written.*read-only"):
        write(series, tmp_path / "clean.h5")


def test_a_missing_folder_is_made(series, tmp_path):
    write(series, tmp_path / "a" / "b" / "clean.h5")
    assert (tmp_path / "a" / "b" / "clean.h5").exists()


@pytest.mark.parametrize("existing", ["clean_master.h5", "clean_data_000001.h5"])
def test_an_existing_output_is_refused_and_kept(series, tmp_path, existing):
    (tmp_path / existing).write_text("precious")
    with pytest.raises(FileError, match=f"{existing} exists: .*--overwrite"):
        write(series, tmp_path / "clean_master.h5")
    assert (tmp_path / existing).read_text() == "precious"


def test_an_existing_output_survives_until_the_new_one_is_complete(series, tmp_path):
    output = tmp_path / "clean.h5"
    output.write_text("precious")
    with pytest.raises(KeyboardInterrupt):
        with create_series(output, series, overwrite=True):
            raise KeyboardInterrupt
    assert output.read_text() == "precious"
    write(series, output, overwrite=True)
    assert h5py.is_hdf5(output)


@pytest.mark.parametrize("name", ["scan_master.h5", "other/../scan_master.h5"])
def test_the_input_is_never_overwritten(master, name):
    (master.parent / "other").mkdir()
    with open_series(master) as series:
        with pytest.raises(FileError, match="is part of the input and would be lost"):
            write(series, master.parent / name, overwrite=True)


def test_a_data_file_of_the_input_is_never_overwritten(master):
    # Its data files would take the names of the input's.
    with open_series(master) as series:
        with pytest.raises(FileError, match="scan_data_000001.h5 is part of the input"):
            write(series, master.with_name("scan.h5"), overwrite=True)


@pytest.mark.parametrize(
    ("name", "num_frames"),
    [
        ("clean_master.h5", 2000),
        ("clean.h5", 2000),
        ("clean.cbf", 500),
        ("clean.tif", 300),
    ],
)
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path, name, num_frames):
    shape = (96, 96)

    def read(start, stop):
        for index in range(start, stop):
            yield np.full(shape, index % 100, np.uint16), ""

    series = Series(
        num_frames=num_frames,
        shape=shape,
        dtype=np.dtype(np.uint16),
        read=read,
        mask=np.ones(shape, bool),
        invalid_values=InvalidValues(),
    )
    peaks = {}
    with create_series(tmp_path / name, series) as writer:
        tracemalloc.start()
        for frame in series.frames():
            writer.write(frame.data.astype(np.float32), frame)
            peaks[frame.index] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        writer.finish()
    # A name a file may stay behind, but of the images not one in eight.
    growth = peaks[num_frames - 1] - peaks[99]
    assert growth < (num_frames - 100) * frame.data.nbytes / 8
