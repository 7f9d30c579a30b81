import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest

from tests.io.images import save_cbf
from tests.io.masters import write_master
from tests.pipeline.stand_ins import Halve
from tvjax.io import FileError, open_series
from tvjax.pipeline import denoise_files, denoise_watched
from tvjax.settings import Settings, SettingsError

SETTINGS = Settings(noise="poisson:1", alpha=0.5, scale=16)

# Writes a frame at a time, for others to read meanwhile, of which some never come.
WRITER = """
import sys, time, h5py, numpy as np
counts = np.load("counts.npy")
with h5py.File("writing.h5", "w", libver="latest") as file:
    shape = counts.shape[1:]
    images = file.create_dataset(
        "entry/data/data", (0, *shape), counts.dtype, maxshape=(None, *shape),
        chunks=(1, *shape),
    )
    file["entry/instrument/detector/detectorSpecific/nimages"] = int(sys.argv[1])
    file["entry/sample/goniometer/omega"] = 0.5 * np.arange(int(sys.argv[1]))
    file.swmr_mode = True
    for index, frame in enumerate(counts):
        images.resize(index + 1, 0)
        images[index] = frame
        images.flush()
        time.sleep(0.05)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def write(tmp_path, counts):
    """Start a process that writes frames for others to read meanwhile."""
    started = []
    np.save(tmp_path / "counts.npy", counts)

    def start(announced, stays=0.0):
        command = [sys.executable, "-c", WRITER, str(announced), str(stays)]
        started.append(subprocess.Popen(command, cwd=tmp_path))
        return tmp_path / "writing.h5"

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def fill(tmp_path, counts):
    """Let a folder fill with the numbers given, then call something."""
    folder = tmp_path / "live"
    folder.mkdir()
    threads = []

    def start(numbers, then=lambda: None):
        def work():
            for number in numbers:
                path = save_cbf(tmp_path / "new.cbf", counts[number].astype(np.int32))
                content = path.read_bytes()
                with open(folder / f"img_{number:04d}.cbf", "wb") as file:
                    file.write(content[:900])  # others see half of it
                    file.flush()
                    time.sleep(0.05)
                    file.write(content[900:])
            then()

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return folder

    yield start
    for thread in threads:
        thread.join()


def interrupt():
    """Let the run begin, and end it as a user does."""
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)


def stored(path):
    with open_series(path) as series:
        return np.stack([frame.data for frame in series.frames()])


def test_a_file_is_followed_until_all_have_come_that_it_announces(
    write, tmp_path, counts
):
    calls = []
    live = write(len(counts))
    outcome = denoise_watched(
        live,
        tmp_path / "live.h5",
        SETTINGS,
        timeout=30.0,
        denoise=Halve(),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert outcome.warnings == ("The total counts changed by more than 0.1 %.",)
    assert outcome.frames == (0, 9) and len(outcome.records) == 9
    assert "watched, noise and strength by the first 5 frames" in outcome.source
    assert calls == [(number, 9) for number in range(1, 10)]
    # as if it had been denoised afterwards, to the bit
    denoise_files(live, tmp_path / "after.h5", SETTINGS, denoise=Halve())
    np.testing.assert_array_equal(
        stored(tmp_path / "live.h5"), stored(tmp_path / "after.h5")
    )


def test_what_never_comes_is_told_when_the_time_is_over(write, tmp_path, counts):
    live = write(20, stays=60.0)
    clean = tmp_path / "clean.h5"
    outcome = denoise_watched(live, clean, SETTINGS, timeout=2.0, denoise=Halve())
    assert outcome.warnings[0].startswith("9 of the 20 frames came that the file")
    with h5py.File(clean) as file:
        assert file["entry/data/data"].shape == counts.shape
        detector = file["entry/instrument/detector"]
        assert detector["detectorSpecific/nimages"][()] == 9
        assert len(file["entry/sample/goniometer/omega"]) == 9


def test_data_files_of_a_master_are_followed(tmp_path, counts):
    raw, live = tmp_path / "raw", tmp_path / "live"
    raw.mkdir()
    live.mkdir()
    master = write_master(raw / "a_master.h5", counts)

    def come():
        for path in sorted(raw.iterdir(), reverse=True):  # the master comes first
            time.sleep(0.1)
            shutil.copy(path, live / path.name)

    thread = threading.Thread(target=come)
    thread.start()
    clean = tmp_path / "clean"
    clean.mkdir()
    outcome = denoise_watched(
        live / "a_master.h5", clean, SETTINGS, timeout=30.0, denoise=Halve()
    )
    thread.join()
    assert outcome.output == clean / "a_master.h5"
    denoise_files(master, tmp_path / "b" / "a_master.h5", SETTINGS, denoise=Halve())
    np.testing.assert_array_equal(
        stored(outcome.output), stored(tmp_path / "b" / "a_master.h5")
    )


def test_a_folder_is_followed_in_whatever_order_it_fills(fill, tmp_path, counts):
    live = fill([2, 1, 3, 4, 5, 8, 7])
    denoise = Halve()
    outcome = denoise_watched(
        live, f"{tmp_path}/clean/", SETTINGS, timeout=2.0, denoise=denoise
    )
    names = [f"img_{number:04d}.cbf" for number in (1, 2, 3, 4, 5, 7, 8)]
    found = sorted(path.name for path in (tmp_path / "clean").glob("*.cbf"))
    assert found == names
    assert "missing are 6" in outcome.warnings[0]
    assert len(denoise.calls) == 1 + 7  # nothing twice
    denoise_files(
        str(live / "*.cbf"), tmp_path / "b" / "img_####.cbf", SETTINGS, denoise=Halve()
    )
    for name in names:
        np.testing.assert_array_equal(
            stored(tmp_path / "clean" / name), stored(tmp_path / "b" / name)
        )


def test_an_interruption_finishes_what_has_come(fill, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        live = fill([1, 2, 3], interrupt)
        outcome = denoise_watched(
            live, tmp_path / "clean.h5", SETTINGS, timeout=60.0, denoise=Halve()
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome.warnings[0] == "an interruption ended the watch after 3 frames."
    assert "chosen from 3 frames" in outcome.warnings[1]
    assert len(stored(tmp_path / "clean.h5")) == 3


def test_an_interruption_before_the_first_frame_leaves_nothing(fill, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        live = fill([], interrupt)
        with pytest.raises(KeyboardInterrupt):
            denoise_watched(live, tmp_path / "c.h5", SETTINGS, timeout=60.0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "c.h5").exists()


def test_where_nothing_comes_there_is_a_sentence(tmp_path):
    with pytest.raises(FileError, match=r"gave no frame within 0\.1 s: .*not exist"):
        denoise_watched(tmp_path / "x.h5", tmp_path / "c.h5", SETTINGS, timeout=0.1)
    with pytest.raises(FileError, match="gave no frame within"):
        denoise_watched(tmp_path, tmp_path / "c.h5", SETTINGS, timeout=0.1)


def test_an_output_that_is_there_is_told_before_the_work(fill, tmp_path):
    live = fill([1, 2, 3, 4, 5])
    (tmp_path / "c.h5").write_text("precious")
    denoise = Halve()
    with pytest.raises(FileError, match=r"c\.h5 exists"):
        denoise_watched(
            live, tmp_path / "c.h5", SETTINGS, timeout=30.0, denoise=denoise
        )
    assert not denoise.calls and (tmp_path / "c.h5").read_text() == "precious"


def test_a_setting_that_makes_no_sense_is_refused(tmp_path):
    refused = (
        (SETTINGS, 0.0),
        (Settings(frames="0:3"), 5.0),
        (Settings(resume=True), 5.0),
    )
    for settings, timeout in refused:
        with pytest.raises(SettingsError):
            denoise_watched(tmp_path, tmp_path / "c.h5", settings, timeout=timeout)
