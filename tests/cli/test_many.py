import json

import numpy as np
import pytest

from tests.pipeline.stand_ins import save_frames, write_density
from tvjax.simulate import nickel_energies, xanes_stack


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in "ab":
        counts = np.random.default_rng(0).poisson(2.0, (3, 40, 50)).astype(np.uint32)
        save_frames(folder / f"{name}.h5", counts)
    return folder


def test_a_folder_goes_to_a_folder_with_a_table(tvjax, scans, tmp_path, halve):
    result = tvjax("denoise", scans, "-o", f"{tmp_path}/clean/")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(str(scans / "a.h5")) and "clean/a.h5" in lines[0]
    assert "alpha 0.25" in lines[1]
    assert lines[2].split()[:5] == ["done", "2", "of", "2", "inputs"]
    assert len(list((tmp_path / "clean").iterdir())) == 2


def test_what_failed_is_told_at_the_end_by_the_exit_code(tvjax, scans, tmp_path, halve):
    (scans / "bad.cbf").write_bytes(b"###CBF: VERSION 1.5")
    result = tvjax("denoise", scans, "-o", f"{tmp_path}/clean/")
    assert result.exit_code == 1
    assert "2 of 3 inputs" in result.stdout
    assert result.stderr.startswith(f"tvjax: {scans / 'bad.cbf'} is ")
    assert result.stderr.count("\n") == 1


def test_one_input_into_a_folder_is_told_as_ever(tvjax, scans, tmp_path, halve):
    (tmp_path / "clean").mkdir()
    result = tvjax("denoise", scans / "a.h5", "-o", tmp_path / "clean")
    assert result.exit_code == 0, result.output
    assert "3 of 3 frames" in result.stdout
    again = tvjax("denoise", scans / "a.h5", "-o", tmp_path / "clean")
    assert again.exit_code == 1 and again.stdout == ""
    assert "a.h5 exists: choose another name or pass --overwrite." in again.stderr


@pytest.mark.slow
def test_each_input_has_a_report(tvjax, scans, tmp_path, halve):
    report = tmp_path / "report"
    result = tvjax("denoise", scans, "-o", f"{tmp_path}/clean/", "--report", report)
    assert result.exit_code == 0, result.output
    for name in "ab":
        assert json.loads((report / name / "report.json").read_text())


def test_several_inputs_need_a_folder(tvjax, scans, tmp_path, halve):
    for inputs in ([scans], [scans / "a.h5", scans / "b.h5"]):
        result = tvjax("denoise", *inputs, "-o", tmp_path / "clean.h5")
        assert result.exit_code == 1 and "-o NAME/" in result.stderr
    (scans / "b.h5").unlink()
    result = tvjax("denoise", scans, "-o", tmp_path / "clean.h5")
    assert result.exit_code == 0, result.output


def test_an_interruption_tells_what_is_done(tvjax, scans, tmp_path, denoise_by):
    calls = []

    def denoise(y, **options):
        calls.append(y)
        raise KeyboardInterrupt

    denoise_by(denoise)
    result = tvjax("denoise", scans, "-o", f"{tmp_path}/clean/")
    assert result.exit_code == 130 and len(calls) == 1
    assert "tvjax: Interrupted" in result.stderr
    assert "0 of 2 inputs" in result.stdout and "not begun" in result.stdout


@pytest.mark.slow
def test_stacks_go_to_a_folder(tvjax, tmp_path, truncate):
    scene = xanes_stack((24, 28), energies=nickel_energies(12), num_states=2)
    (tmp_path / "stacks").mkdir()
    for name in "ab":
        write_density(tmp_path / "stacks" / f"{name}.h5", scene)
    result = tvjax("stack", tmp_path / "stacks", "-o", f"{tmp_path}/clean/")
    assert result.exit_code == 0, result.output
    assert "2 of 2 inputs" in result.stdout


def test_info_tells_of_each_input(tvjax, scans):
    (scans / "bad.cbf").write_bytes(b"###CBF: VERSION 1.5")
    result = tvjax("info", scans)
    assert result.exit_code == 1
    for name in ("a.h5", "b.h5"):
        assert f"{scans / name}:\ninput" in result.stdout
        assert f"tvjax denoise {scans / name} -o" in result.stdout
    assert result.stderr.startswith(f"tvjax: {scans / 'bad.cbf'} is ")
