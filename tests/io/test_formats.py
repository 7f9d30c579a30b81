from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest

from tests.io.images import save_cbf, save_edf, save_tiff
from tvjax.io import FileError
from tvjax.io.encoding import Encoding
from tvjax.io.formats import (
    format_of,
    is_hdf5,
    output_format,
    READABLE,
    Sink,
    WRITABLE,
)
from tvjax.io.series import Selection, series_of
from tvjax.io.staging import Staging

IMAGE = np.arange(20, dtype=np.int32).reshape(4, 5)


@pytest.mark.parametrize(
    ("save", "name"),
    [(save_cbf, "cbf"), (save_tiff, "tiff"), (save_edf, "detectors")],
)
def test_the_first_bytes_tell_the_format_and_not_the_extension(tmp_path, save, name):
    path = tmp_path / "image.h5"
    save(path, IMAGE)
    found = format_of(path)
    assert found.NAME == name
    assert not is_hdf5(path)
    assert found.describe(path).num_frames == 1
    ((values, _),) = found.read(path, 0, 1)
    np.testing.assert_array_equal(values, IMAGE)


def test_hdf5_is_known_whatever_its_name(tmp_path):
    with h5py.File(tmp_path / "image.cbf", "w"):
        pass
    assert is_hdf5(tmp_path / "image.cbf")


def test_names_and_extensions_are_taken_once():
    for table in (READABLE, WRITABLE):
        names = [each.NAME for each in table]
        assert len(set(names)) == len(names)
    suffixes = [suffix for each in WRITABLE for suffix in each.SUFFIXES]
    assert len(set(suffixes)) == len(suffixes)
    for suffix in suffixes:
        assert suffix in output_format(Path(f"image{suffix.upper()}")).SUFFIXES


def test_the_format_that_takes_all_is_asked_last():
    assert [each.NAME for each in READABLE if not each.MAGICS] == [READABLE[-1].NAME]


@pytest.mark.parametrize("written", WRITABLE, ids=[each.NAME for each in WRITABLE])
def test_every_format_writes_what_fabio_reads(tmp_path, written):
    series = series_of(np.stack([IMAGE, IMAGE + 1]))
    selection = Selection(0, 2, 2)
    path = tmp_path / f"image{written.SUFFIXES[0]}"
    files = written.output_files(path, series, selection)
    encoding = Encoding(np.dtype(written.DTYPES[0]), 1)
    with Staging(path, protected=(), overwrite=False) as staging:
        sink = written.create_sink(staging, files, series, selection, encoding, None)
        assert isinstance(sink, Sink)
        for frame in series.frames():
            sink.append(frame.data.astype(encoding.dtype), frame)
        sink.finish(None)
        sink.close()
        staging.commit()
    assert sorted(tmp_path.iterdir()) == sorted(files)
    with fabio.open(str(files[0])) as image:
        np.testing.assert_array_equal(image.data, IMAGE)


def test_an_extension_that_no_format_has_is_refused():
    with pytest.raises(FileError, match="no extension that tvjax writes: use .h5"):
        output_format(Path("image.png"))
