import contextlib
import errno
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.pipeline.killed import (
    COMMANDS,
    contents,
    finish,
    kill_after,
    save_inputs,
    time_of,
)
from tests.pipeline.stand_ins import Halve, save_frames, Truncate
from tvjax.io import FileError, save_stack, series_of, stack_of, Tally
from tvjax.io.hdf5.write_frames import Hdf5Sink
from tvjax.io.journal import Header, Journal, open_journal, unfinished_run
from tvjax.pipeline import denoise_files, denoise_stack_files, resuming
from tvjax.pipeline.frames_outcome import Record
from tvjax.pipeline.resuming import (
    describe_run,
    digest_of,
    Encoded,
    FrameKeeper,
    journal_of,
    kept_results,
    recorded,
    resumed_in_words,
    telling_what_is_kept,
)
from tvjax.settings import Settings, StackSettings

# Moments at which each of the four commands is killed: a hundred in all.
MOMENTS = 25

HEADER = Header({"`alpha`": "None"}, "frames", 9)
FRAMES = np.random.default_rng(0).poisson(2.0, (9, 40, 50)).astype(np.uint32)
GIVEN = {"alpha": 1.0, "noise": "poisson:1"}


class StopAt(Halve):
    """Halves frames, and cannot read on after some: a link is lost."""

    def __init__(self, stop):
        super().__init__()
        self.stop = stop

    def __call__(self, y, **options):
        if len(self.calls) == self.stop:
            raise FileError("The link is lost.")
        return super().__call__(y, **options)


@pytest.fixture
def scan(tmp_path):
    return save_frames(tmp_path / "scan.h5", FRAMES)


def denoised(path):
    with h5py.File(path) as file:
        return file["entry/data/data_000001"][()]


def stop_after(num_frames, scan, output, **changes):
    """Denoise some frames until the link is lost, and return the sentence."""
    with pytest.raises(FileError) as end:  # the choice is the first call
        denoise_files(
            scan, output, Settings(**GIVEN | changes), denoise=StopAt(num_frames + 1)
        )
    return str(end.value)


@pytest.mark.parametrize("name", ["clean_master.h5", "clean.h5", "clean_####.tif"])
def test_a_run_goes_on_to_the_same_bytes(scan, tmp_path, name):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    denoise_files(scan, whole / name, Settings(**GIVEN), denoise=Halve())
    sentence = stop_after(4, scan, cut / name)
    assert sentence == (
        "The link is lost; 4 of 9 frames are kept, and the same command with --resume "
        "goes on."
    )
    assert all(path.name.startswith(".") for path in cut.iterdir())
    halve = Halve()
    outcome = denoise_files(
        scan, cut / name, Settings(**GIVEN, resume=True), denoise=halve
    )
    assert len(halve.calls) == 1 + 5
    assert outcome.facts()["resumed"] == "4 frames kept by an earlier run"
    assert len(outcome.records) == 9 and outcome.tally.counts_in == FRAMES.sum()
    assert contents(cut) == contents(whole)


KILLED = """
import os, signal, sys
from tests.pipeline.stand_ins import Halve
from tvjax.pipeline import denoise_files
from tvjax.settings import Settings

class Killed(Halve):
    def __call__(self, y, **options):
        if len(self.calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(y, **options)

settings = Settings(alpha=1.0, noise="poisson:1")
denoise_files(sys.argv[1], sys.argv[2], settings, denoise=Killed())
"""


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(scan, tmp_path):
    whole, cut = (tmp_path / name / "clean.h5" for name in ("whole", "cut"))
    denoise_files(scan, whole, Settings(**GIVEN), denoise=Halve())
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(scan), str(cut)],
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == -signal.SIGKILL and not cut.exists()
    # the last frames may have waited to be written
    settings, halve = Settings(**GIVEN, resume=True), Halve()
    denoise_files(scan, cut, settings, denoise=halve)
    assert 1 + 5 <= len(halve.calls) < 1 + 9
    assert contents(cut.parent) == contents(whole.parent)


def test_a_run_that_is_not_resumed_says_what_it_found(scan, tmp_path):
    output = tmp_path / "clean.h5"
    stop_after(4, scan, output)
    halve = Halve()
    outcome = denoise_files(scan, output, Settings(**GIVEN), denoise=halve)
    assert len(halve.calls) == 1 + 9
    (warning,) = (text for text in outcome.warnings if "not finished" in text)
    assert "4 of 9 frames of it are kept: --resume goes on" in warning
    assert outcome.resumed is None and unfinished_run(output) is None


def test_nothing_to_resume_is_said(scan, tmp_path):
    settings = Settings(**GIVEN, resume=True)
    outcome = denoise_files(scan, tmp_path / "clean.h5", settings, denoise=Halve())
    assert outcome.resumed == "no frames were kept by an earlier run: all are computed"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"alpha": 2.0}, r"`alpha` \(1.0 then, 2.0 now\)"),
        ({"frames": "0:8"}, r"`frames` \(None then, 0:8 now\)"),
        ({"dtype": "float32"}, r"`dtype` \(None then, float32 now\)"),
    ],
)
def test_what_differs_is_named_before_the_work(scan, tmp_path, changes, what):
    stop_after(4, scan, tmp_path / "clean.h5")
    halve = Halve()
    settings = Settings(**GIVEN | changes, resume=True)
    with pytest.raises(FileError, match=f"begun differs in {what}: repeat it"):
        denoise_files(scan, tmp_path / "clean.h5", settings, denoise=halve)
    assert not halve.calls
    assert "4 of 9 frames" in unfinished_run(tmp_path / "clean.h5")


def test_data_that_choose_otherwise_are_another_run(scan, tmp_path):
    stop_after(4, scan, tmp_path / "clean.h5")
    scan.unlink()
    save_frames(scan, FRAMES + np.uint32(1))
    with pytest.raises(FileError, match="differs in the choice of noise and strength"):
        denoise_files(
            scan,
            tmp_path / "clean.h5",
            Settings(**GIVEN, resume=True),
            denoise=Halve(),
        )


def test_a_frame_that_is_another_now_is_computed_again(scan, tmp_path):
    stop_after(4, scan, tmp_path / "clean.h5")
    scan.unlink()
    frames = FRAMES.copy()
    frames[1] += 3  # of no part in the choice, which is by frames 0, 2, 4, 6 and 8
    save_frames(scan, frames)
    halve, settings = Halve(), Settings(**GIVEN, resume=True)
    denoise_files(scan, tmp_path / "clean.h5", settings, denoise=halve)
    assert len(halve.calls) == 1 + 1 + 5
    np.testing.assert_array_equal(denoised(tmp_path / "clean.h5"), frames * 8)


def test_a_full_disk_says_that_the_work_is_kept(scan, tmp_path, disk_full_after):
    output = tmp_path / "clean.h5"
    with disk_full_after(3), pytest.raises(FileError) as end:
        denoise_files(scan, output, Settings(**GIVEN), denoise=Halve())
    assert "the disk is full" in str(end.value)
    assert "frames are kept, and the same command with --resume goes on." in str(
        end.value
    )
    settings = Settings(**GIVEN, resume=True)
    outcome = denoise_files(scan, output, settings, denoise=Halve())
    assert "frames kept by an earlier run" in outcome.resumed
    np.testing.assert_array_equal(denoised(output), FRAMES * 8)


@pytest.fixture
def disk_full_after(monkeypatch):
    """Let an output have room for some frames only."""

    @contextlib.contextmanager
    def fill(num_frames):
        append, seen = Hdf5Sink.append, []

        def full(sink, stored, frame):
            if len(seen) == num_frames:
                for file in sink._staging._staged.values():
                    file.error = OSError(errno.ENOSPC, "No space left on device")
            seen.append(frame.index)
            append(sink, stored, frame)

        with monkeypatch.context() as patched:
            patched.setattr(Hdf5Sink, "append", full)
            yield

    return fill


def test_what_the_disk_did_not_take_is_a_warning(scan, tmp_path, monkeypatch):
    def refuse(journal, head, content):
        if "key" in head:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(journal, head, content)

    append = Journal._append
    monkeypatch.setattr(Journal, "_append", refuse)
    outcome = denoise_files(
        scan, tmp_path / "clean.h5", Settings(**GIVEN), denoise=Halve()
    )
    assert any(
        ".clean.h5.journal could not be written (No space left" in text
        for text in outcome.warnings
    )


def keep_some(keeper, indices):
    for frame in series_of(FRAMES).frames():
        if frame.index in indices:
            record = Record(frame.index + 0.1, 1e-5, True, True)
            tally = Tally(1.5, 2.5, frame.index, 0)
            keeper.keep(frame, Encoded(frame.data * 2, tally, record))


def test_batches_come_back_whole_or_not_at_all(tmp_path):
    frames = list(series_of(FRAMES).frames())
    with open_journal(tmp_path / "x.h5", HEADER, resume=False) as journal:
        keep_some(FrameKeeper(journal, 3), {0, 1, 2, 3, 4})
    with open_journal(tmp_path / "x.h5", HEADER, resume=True) as journal:
        keeper = FrameKeeper(journal, 3)
        found = keeper.recall(frames[:3])
        assert keeper.recall(frames[3:6]) is None
        assert keeper.num_recalled == 3
    for index, (stored, tally, record) in enumerate(found):
        np.testing.assert_array_equal(stored, FRAMES[index] * 2)
        assert tally == Tally(1.5, 2.5, index, 0)
        assert record == Record(index + 0.1, 1e-5, True, True)


def test_keeping_takes_no_more_than_its_share_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(resuming.time, "monotonic", lambda: now[0])
    keep = Journal.keep

    def slowly(journal, *args):
        now[0] += 0.4
        keep(journal, *args)

    monkeypatch.setattr(Journal, "keep", slowly)
    with open_journal(tmp_path / "x.h5", HEADER, resume=False) as journal:
        keeper = FrameKeeper(journal, 1)
        for index in range(9):
            keep_some(keeper, {index})
            now[0] += 2.0
        kept = [index for index in range(9) if str(index) in journal]
    # half a second is free, and of 16.8 s there are 0.84 s for it
    assert kept == [0, 1, 8]


STACK = np.random.default_rng(0).normal(1, 0.1, (6, 20, 20)).astype(np.float32)


class TruncateInSteps(Truncate):
    """Truncates a stack in steps that can be remembered, and may be cut off."""

    def __init__(self, stop=None):
        super().__init__(rank=1)
        self.steps, self.stop = 0, stop

    def __call__(self, y, *, remember, **options):
        def compute():
            if self.steps == self.stop:
                raise KeyboardInterrupt
            self.steps += 1
            return {"twice": 2 * y[0:1], "number": np.array(0.1)}

        for number in range(3):
            found = remember({"y": y[0:1], "number": number}, compute)
            np.testing.assert_array_equal(found["twice"], 2 * y[0:1])
            assert found["number"] == 0.1
        return super().__call__(y, **options)


def test_a_stack_goes_on_to_the_same_bytes(tmp_path):
    source = tmp_path / "stack.h5"
    save_stack(source, stack_of(STACK, np.arange(6) + 8300.0))
    whole, cut = tmp_path / "whole" / "x.h5", tmp_path / "cut" / "x.h5"
    denoise_stack_files(source, whole, fit=TruncateInSteps())
    with pytest.raises(KeyboardInterrupt) as end:
        denoise_stack_files(source, cut, fit=TruncateInSteps(stop=2))
    assert str(end.value) == (
        f"Interrupted: {cut} was not written yet, 2 steps are kept, and the same "
        "command with --resume goes on."
    )
    resumed = TruncateInSteps()
    settings = StackSettings(resume=True)
    outcome = denoise_stack_files(source, cut, settings, fit=resumed)
    assert resumed.steps == 1
    assert outcome.facts()["resumed"] == "2 steps kept by an earlier run"
    assert contents(cut.parent) == contents(whole.parent)


def test_results_are_told_apart_by_all_that_they_follow_from(tmp_path):
    given = {"y": STACK, "mask": None, "number": 1.0}
    changed = (
        given | {"y": STACK + 1},
        given | {"y": STACK.astype(float)},
        given | {"y": STACK.reshape(20, 6, 20)},
        given | {"mask": STACK > 1},
        given | {"number": 2.0},
        given | {"number": np.array([1.0])},
    )
    digests = {digest_of(each) for each in (given, *changed)}
    assert len(digests) == 1 + len(changed)
    assert digest_of(given) == digest_of({"number": 1.0, "mask": None, "y": STACK})
    calls = []

    def compute():
        calls.append(1)
        return {"sum": STACK.sum(0)}

    with kept_results(tmp_path / "x.h5", HEADER, resume=False) as remember:
        for _ in range(2):
            found = remember(given, compute)["sum"]
            np.testing.assert_array_equal(found, STACK.sum(0))
        remember(changed[0], compute)
    assert len(calls) == 2 and remember.num_recalled == 1


def test_the_content_of_a_mask_counts_and_not_its_place(tmp_path):
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mask.npy").write_bytes(content)

    def run(folder, **changes):
        settings = Settings(mask=str(tmp_path / folder / "mask.npy"), **changes)
        return describe_run(series_of(FRAMES), settings)

    assert run("a") == run("b", overwrite=True, resume=True, emit=("xds",))
    assert run("a") != run("c") and run("a") != run("a", alpha=1.0)


def test_the_end_of_a_run_clears_away_what_it_kept(tmp_path):
    output = tmp_path / "x.h5"
    with pytest.raises(ValueError, match="^bad$"):
        with journal_of(output, HEADER, resume=False):
            raise ValueError("bad")
    assert not list(tmp_path.iterdir())  # there was nothing to keep
    with pytest.raises(FileError, match="^lost; 1 of 9 frames are kept"):
        with journal_of(output, HEADER, resume=False) as journal:
            journal.keep("0", {}, [])
            raise FileError("lost.")
    with pytest.raises(KeyboardInterrupt, match="1 of 9 frames are kept"):
        with telling_what_is_kept(output):
            raise KeyboardInterrupt
    with journal_of(output, HEADER, resume=True) as journal:
        assert "0" in journal
    assert not list(tmp_path.iterdir())
    assert resumed_in_words(3, "frames") == "3 frames kept by an earlier run"


def test_a_record_does_not_say_whether_a_run_was_resumed():
    assert recorded(Settings(resume=True)) == recorded(Settings())
    assert recorded(Settings(alpha=1.0))["alpha"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_is_killed_and_resumed_gives_the_same_bytes(command, tmp_path):
    save_inputs(tmp_path)
    finish(command, tmp_path, "warm")  # compiles
    before, after = time_of(command, tmp_path, "whole")
    whole = contents(tmp_path / "whole")
    rng = np.random.default_rng(0)
    resumed, ended = [], 0
    for number in range(MOMENTS):
        folder = tmp_path / f"cut{number}"
        # every third one before anything is kept, and the others while it is
        kept = number % 3 > 0
        moment = rng.uniform(0, 0.9) * (after if kept else before)
        killed = kill_after(moment, command, tmp_path, folder.name, kept=kept)
        left = contents(folder) if folder.exists() else {}
        if not killed or whole.keys() <= left.keys():
            # it was complete, and only had to say so
            assert {name: left[name] for name in whole} == whole
            ended += 1
            continue
        assert {name for name in left if not name.startswith(".")} <= {"w.checkpoint"}
        text = finish(command, tmp_path, folder.name, "--resume")
        assert contents(folder) == whole
        (line,) = (line for line in text.splitlines() if line.startswith("resumed"))
        resumed.append(line.split()[1])
        print(f"{command}: {len(resumed)} resumed, {ended} had ended, {line}")
    assert ended < MOMENTS / 2
    assert any(word.isdigit() for word in resumed)
