import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.pipeline.stand_ins import Halve
from tvjax import pipeline
from tvjax.io import open_series, save_series, series_of


def test_denoise_writes_the_output_and_a_summary(tvjax, scan, tmp_path, halve):
    clean = tmp_path / "clean" / "scan_master.h5"
    result = tvjax("denoise", scan, "-o", clean)
    assert result.exit_code == 0, result.output
    assert "4 of 4 frames" in result.stdout
    assert str(clean) in result.stdout
    assert result.stderr == ""  # no progress where nobody looks
    with open_series(clean) as series:
        assert series.num_frames == 4


def test_every_option_reaches_the_output(tvjax, scan, tmp_path, halve):
    clean = tmp_path / "clean_master.h5"
    np.save(tmp_path / "mask.npy", np.ones((40, 50), bool))
    options = (
        "--alpha 0.3 --noise mixed:2,3,4 --frames 1:3 --dtype int32 --scale 8 "
        f"--emit xds,dials --mask {tmp_path / 'mask.npy'} --overwrite "
        "--weights uniform --no-protect"
    )
    result = tvjax("denoise", scan, "-o", clean, *options.split())
    assert result.exit_code == 0, result.output
    with h5py.File(clean) as file:
        assert file["entry/data/data_000001"].dtype == np.int32
        settings = json.loads(file["entry/tvjax/settings"][()])
    assert settings == {
        "alpha": 0.3,
        "per_frame": False,
        "repeats": False,
        "noise": "mixed:2,3,4",
        "weighting": "uniform",
        "protect": False,
        "mask": str(tmp_path / "mask.npy"),
        "frames": "1:3",
        "dataset": None,
        "dtype": "int32",
        "scale": 8,
        "overwrite": True,
        "force": False,
        "emit": ["xds", "dials"],
    }
    assert (tmp_path / "clean_master.XDS.INP").read_text().startswith("GAIN= 8\n")


def test_a_report_is_left_in_its_folder(tvjax, scan, tmp_path, halve):
    report = tmp_path / "report"
    result = tvjax("denoise", scan, "-o", tmp_path / "c.h5", "--report", report)
    assert result.exit_code == 0, result.output
    assert (report / "report.html").exists()
    assert json.loads((report / "report.json").read_text())
    again = tvjax("denoise", scan, "-o", tmp_path / "d.h5", "--report", report)
    assert again.exit_code == 1
    assert "holds a report: choose another or pass --overwrite." in again.stderr
    assert not (tmp_path / "d.h5").exists()


def test_a_file_is_watched_for_so_many_seconds(tvjax, scan, tmp_path, monkeypatch):
    asked = []

    def watch(inputs, output, settings, *, timeout, progress):
        asked.append((inputs, output, timeout))
        return pipeline.denoise_files(inputs, output, settings, denoise=Halve())

    monkeypatch.setattr(pipeline, "denoise_watched", watch)
    for number, words in enumerate((["--watch"], ["--watch", "2.5"])):
        output = str(tmp_path / f"{number}.h5")
        result = tvjax("denoise", scan, "-o", output, *words)
        assert result.exit_code == 0, result.output
        assert asked[-1] == ([str(scan)], output, (60, 2.5)[number])
    result = tvjax("denoise", scan, "-o", "c.h5", "--watch", "--dry-run")
    assert result.exit_code == 2 and "`dry_run` waits for no frames" in result.stderr


def test_a_dry_run_writes_nothing(tvjax, scan, tmp_path, halve):
    result = tvjax("denoise", scan, "-o", tmp_path / "c.h5", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "alpha      0.25" in result.stdout
    assert not (tmp_path / "c.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["missing.h5"], 1, "missing.h5 does not exist: check the name."),
        (["none_*.cbf"], 1, "No file matches none_*.cbf: check"),
        (["SCAN", "--frames", "0:9"], 1, "has the frames 0:4, not 0:9"),
        (
            ["SCAN", "--alpha", "-1"],
            2,
            "`alpha` must be finite and not negative, got -1.",
        ),
        (["SCAN", "--alpha", "much"], 2, "`alpha` must be auto or a number, got much."),
        (["SCAN", "--noise", "pink"], 2, "`noise` must be auto, poisson[:GAIN]"),
        (["SCAN", "--frames", "3"], 2, "`frames` must be a range A:B"),
        (["SCAN", "--emit", "mosflm"], 2, "`emit` must name some of xds, dials"),
    ],
)
def test_an_error_is_one_sentence(
    tvjax, scan, tmp_path, halve, monkeypatch, arguments, code, sentence
):
    monkeypatch.chdir(tmp_path)
    arguments = [str(scan) if text == "SCAN" else text for text in arguments]
    result = tvjax("denoise", *arguments, "-o", "clean.h5")
    assert result.exit_code == code
    assert sentence in result.stderr
    assert result.stderr.startswith("tvjax: ") and result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_data_that_cannot_be_denoised_are_no_misuse(tvjax, scan, tmp_path, denoise_by):
    def refuse(y, **options):
        raise ValueError("images of at least 2 x 2 are needed.")

    denoise_by(refuse)
    result = tvjax("denoise", scan, "-o", tmp_path / "c.h5")
    assert result.exit_code == 1
    assert result.stderr == "tvjax: images of at least 2 x 2 are needed.\n"


def test_an_image_of_one_pixel_needs_a_noise_model(tvjax, tmp_path, halve):
    save_series(tmp_path / "raw.h5", series_of(np.ones((2, 1, 1), np.uint32)))
    files = tmp_path / "raw.h5", "-o", tmp_path / "c.h5"
    result = tvjax("denoise", *files)
    assert result.exit_code == 1
    assert "or what are images with --dataset." in result.stderr
    named = "--dataset", "entry/data"
    result = tvjax("denoise", *files, *named)
    assert result.exit_code == 1
    assert "at least 2 x 2, got shape (2, 1, 1); give the noise" in result.stderr
    result = tvjax("denoise", *files, *named, "--noise", "poisson:1")
    assert result.exit_code == 0, result.output


def test_an_existing_output_is_kept(tvjax, scan, tmp_path, halve):
    (tmp_path / "c.h5").write_text("precious")
    result = tvjax("denoise", scan, "-o", tmp_path / "c.h5")
    assert result.exit_code == 1
    assert "c.h5 exists: choose another name or pass --overwrite." in result.stderr
    assert (tmp_path / "c.h5").read_text() == "precious"


def test_an_interruption_is_one_sentence_and_leaves_nothing(
    tvjax, scan, tmp_path, denoise_by
):
    def interrupt(y, **options):
        raise KeyboardInterrupt

    denoise_by(interrupt)
    result = tvjax("denoise", scan, "-o", tmp_path / "clean" / "c_master.h5")
    assert result.exit_code == 130
    assert result.stderr == "tvjax: Interrupted: nothing was written.\n"
    assert not list((tmp_path / "clean").iterdir())


SIGNALS = """
import functools, os, signal, sys
import numpy as np
from types import SimpleNamespace
from tvjax import pipeline
from tvjax.cli import main

def denoise(y, **options):
    # the choice, three frames, and then a signal while they are written
    calls.append(y)
    if len(calls) == 5:
        os.kill(os.getpid(), number)
    return SimpleNamespace(
        image=y / 2, alpha=np.array(1.0), relative_gap=np.zeros(len(y)),
        converged=np.ones(len(y), bool), at_bound=np.array(False), curve=None,
        protection=None,
    )

pipeline.denoise_files = functools.partial(pipeline.denoise_files, denoise=denoise)
# what runs in the background may have been told to ignore it
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGINT, signal.SIGTERM):
    calls = []
    try:
        main()
    except SystemExit as end:
        print(len(calls), end.code)
"""


def test_a_signal_in_the_middle_of_writing_ends_it_cleanly(tmp_path):
    counts = np.random.default_rng(0).poisson(2.0, (8, 40, 50)).astype(np.uint32)
    save_series(tmp_path / "raw.h5", series_of(counts))
    command = ["-c", SIGNALS, "denoise", "raw.h5", "-o", "clean/scan_master.h5"]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "5 130\n" * 2, done.stderr
    first, unfinished, second = done.stderr.splitlines()
    sentence = (
        "tvjax: Interrupted: clean/scan_master.h5 was not written yet, 3 of 8 frames "
        "are kept, and the same command with --resume goes on."
    )
    assert first == second == sentence
    assert unfinished.startswith(
        "tvjax: An earlier run to clean/scan_master.h5 was not finished, and 3 of 8 "
        "frames of it are kept: --resume goes on from there"
    )
    left = {path.name for path in (tmp_path / "clean").iterdir()}
    assert left == {".scan.h5.journal", ".scan.h5.earlier.journal"}
