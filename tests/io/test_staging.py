import errno
import fcntl
import os
import re
import secrets
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.io.disk import tiny_disk
from tests.io.rivals import rounds
from tvjax.io import create_series, FileError, open_series, Series, series_of
from tvjax.io.invalid_values import InvalidValues
from tvjax.io.staging import replace_file

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
        assert written and all(path.name.startswith(".") for path in written)
        writer.finish()
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


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
    usual = os.open

    def refuse(path, *arguments, **options):
        if Path(path).parent == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return usual(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
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
        pytest.param("clean.h5", 2000, marks=pytest.mark.slow),
        pytest.param("clean.cbf", 500, marks=pytest.mark.slow),
        pytest.param("clean.tif", 300, marks=pytest.mark.slow),
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


# Two runs, and what is laid in their way


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from tvjax.io import create_series, FileError, series_of
from tests.io.test_staging import constant

output, value, gate = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
series = constant(value)
gate.with_name(f"ready {value}").touch()
while not gate.exists():
    time.sleep(0.001)
try:
    with create_series(output, series, overwrite=True, scale=1) as writer:
        for frame in series.frames():
            writer.write(frame.data.astype(float), frame)
            time.sleep(0.02)
        writer.finish()
except FileError as error:
    print(error)
    sys.exit(1)
"""


def constant(value):
    return series_of(np.full((20, 30, 40), value, np.uint32))


def run(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("name", ["out_master.h5", "out_####.tif"])
def test_of_two_runs_to_one_output_one_wins_whole(tmp_path, name):
    gate, folder = tmp_path / "gate", tmp_path / "clean"
    runs = [run(WRITER, folder / name, value, gate) for value in (3, 5)]
    while len(list(tmp_path.glob("ready *"))) < 2:
        assert all(each.poll() is None for each in runs)
        time.sleep(0.01)
    gate.touch()
    texts = [each.communicate()[0] for each in runs]
    codes = [each.returncode for each in runs]
    assert sorted(codes) == [0, 1], texts
    loser = codes.index(1)
    assert re.search("is being written by another run: wait", texts[loser])
    with open_series(str(folder / name)) as series:
        assert series.num_frames == 20
        winner = (3, 5)[1 - loser]
        assert all(np.all(frame.data == winner) for frame in series.frames())
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


PREPARE = """
from tvjax.io import create_series
from tests.io.test_staging import constant

series = constant(3 + own)

def write(output):
    with create_series(output, series, scale=1) as writer:
        for frame in series.frames():
            writer.write(frame.data.astype(float), frame)
            time.sleep(0.002)
        writer.finish()
"""


@pytest.mark.parametrize("number", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["out_master.h5", "out.h5", "out_####.tif"])
def test_one_of_two_wins_whole_whenever_they_start(tmp_path, name, number):
    (tmp_path / "rounds").mkdir()
    write = f"write(folder.parent / str(number) / {name!r})"
    for index, texts in rounds(tmp_path / "rounds", number, PREPARE, write):
        (loser,) = [own for own, text in enumerate(texts) if text]
        assert re.search("being written by another run|exists: choose", texts[loser])
        folder = tmp_path / str(index)
        with open_series(str(folder / name)) as series:
            frames = [frame.data for frame in series.frames()]
        assert len(frames) == 20 and np.all(np.stack(frames) == 3 + (1 - loser))
        assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("one", "other"),
    [("x.cbf", "x_####.cbf"), ("x.h5", "x_master.h5"), ("x.tif", "x.tif")],
)
def test_names_that_write_the_same_files_exclude_each_other(
    series, tmp_path, one, other
):
    with create_series(tmp_path / one, series):
        with pytest.raises(FileError, match="being written by another run"):
            create_series(tmp_path / other, series)
    with create_series(tmp_path / other, series):
        pass


def test_a_killed_run_bars_nobody_and_its_remains_go(tmp_path):
    gate, output = tmp_path / "gate", tmp_path / "clean" / "out_master.h5"
    gate.touch()
    killed = run(WRITER, output, 3, gate)
    while not list(tmp_path.glob("clean/.*.partial")):
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert not output.exists() and list(output.parent.glob(".*"))
    write(constant(5), output)
    assert not list(output.parent.glob(".*"))


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_that_appears_meanwhile_is_kept(series, tmp_path, name):
    with create_series(tmp_path / name, series) as writer:
        for frame in series.frames():
            writer.write(frame.data.astype(float), frame)
        first = name if name.endswith("h5") else f"clean_00001{Path(name).suffix}"
        (tmp_path / first).write_text("precious")
        with pytest.raises(FileError, match=f"{first} exists"):
            writer.finish()
    assert [path.name for path in tmp_path.iterdir()] == [first]
    assert (tmp_path / first).read_text() == "precious"


def test_where_there_are_no_hard_links_files_are_renamed(series, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write(series, tmp_path / "clean_master.h5")
    assert h5py.is_hdf5(tmp_path / "clean_data_000001.h5")
    assert not list(tmp_path.glob(".*"))


def test_where_there_are_no_locks_the_file_is_the_lock(series, tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with create_series(tmp_path / "clean.h5", series):
        with pytest.raises(FileError, match=r"\.clean\.h5\.lock is there: remove it"):
            create_series(tmp_path / "clean.h5", series)
    write(series, tmp_path / "clean.h5")


def test_a_link_in_the_place_of_the_lock_is_not_followed(series, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".clean.h5.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(FileError, match=r"clean\.h5\.lock is a symbolic link"):
        write(series, tmp_path / "clean.h5")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_link_in_the_place_of_an_unfinished_file_is_not_followed(
    series, tmp_path, monkeypatch
):
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0" * 16)
    (tmp_path / "precious").write_text("precious")
    link = tmp_path / f".clean.h5.{'0' * 16}.partial"
    link.symlink_to(tmp_path / "precious")
    with pytest.raises(FileError, match="clean.h5 cannot be written"):
        write(series, tmp_path / "clean.h5")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_link_that_leads_nowhere_is_an_existing_output(series, tmp_path):
    (tmp_path / "clean.h5").symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(FileError, match="clean.h5 exists"):
        write(series, tmp_path / "clean.h5")


@pytest.mark.parametrize("lay", [os.link, os.symlink])
def test_the_input_under_another_name_is_never_overwritten(master, tmp_path, lay):
    data_file = master.with_name("scan_data_000001.h5")
    for source, name in ((master, "a.h5"), (data_file, "b.h5")):
        lay(source, tmp_path / name)
        with open_series(master) as series:
            with pytest.raises(FileError, match=f"{name} is part of the input"):
                write(series, tmp_path / name, overwrite=True)


def test_files_that_the_master_leads_to_are_never_overwritten(tmp_path):
    for name in ("link", "virtual", "external"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"] = np.ones((4, 5), np.uint32)
    np.zeros(20, np.uint32).tofile(tmp_path / "raw.h5")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"] = np.ones((2, 4, 5), np.uint32)
        file["a"] = h5py.ExternalLink("link.h5", "x")
        layout = h5py.VirtualLayout((4, 5), np.uint32)
        layout[...] = h5py.VirtualSource("virtual.h5", "x", (4, 5))
        file.create_virtual_dataset("deep/b", layout)
        raw = [("raw.h5", 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("deep/c", (20,), np.uint32, external=raw)
    with open_series(tmp_path / "scan.h5", dataset="data") as series:
        for name in ("link", "virtual", "raw"):
            with pytest.raises(FileError, match=f"{name}.h5 is part of the input"):
                write(series, tmp_path / f"{name}.h5", overwrite=True)


def test_what_is_read_besides_is_never_overwritten(series, tmp_path):
    mask = tmp_path / "mask.h5"
    mask.write_text("precious")
    with pytest.raises(FileError, match="mask.h5 is part of the input"):
        write(series, mask, overwrite=True, reads=[mask])


@pytest.mark.parametrize("mode", [0o022, 0o027, 0o077])
def test_permissions_follow_the_mask_of_the_user(series, tmp_path, mode):
    before = os.umask(mode)
    try:
        write(series, tmp_path / "clean_master.h5")
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~mode


def test_a_replaced_file_is_old_or_new_and_no_remains_stay(tmp_path):
    replace_file(tmp_path / "a", b"old")
    with pytest.raises(OSError), tiny_disk():
        replace_file(tmp_path / "a", bytes(10**5))
    assert (tmp_path / "a").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
