import json

import h5py
import pytest

from tvjax.io import open_series, open_stack


@pytest.mark.slow
def test_the_demo_leaves_a_scan_its_denoised_twin_and_a_report(
    tvjax, tmp_path, halve, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = tvjax("demo", "--frames", 2)
    assert result.exit_code == 0, result.output
    with open_series(tmp_path / "tvjax_demo/raw/scan_master.h5") as raw:
        assert (raw.num_frames, raw.shape) == (2, (1065, 1030))
        with open_series(tmp_path / "tvjax_demo/clean/scan_master.h5") as clean:
            assert clean.metadata.angle_increment == raw.metadata.angle_increment
    assert "tvjax_demo/report/report.html" in result.stdout.replace("\n", "")
    report = json.loads((tmp_path / "tvjax_demo/report/report.json").read_text())
    # half of the counts were taken away
    assert report["measured"]["total_change"] == pytest.approx(-0.5)


@pytest.mark.slow
def test_the_demo_leaves_a_stack_its_maps_and_a_report_beside_the_truth(
    tvjax, tmp_path, truncate, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = tvjax("demo", "--stack", "--frames", 16)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "tvjax_demo"
    with open_stack(folder / "clean/stack.h5") as clean:
        assert clean.shape == (16, 128, 128) and clean.series.denoised_by
    with h5py.File(folder / "clean/map.h5") as file:
        assert list(file["entry/fractions/reference"].asstr()) == [
            *("Ni 2+", "Ni 3+", "Ni 4+")
        ]
    assert "dB below the data's\nreport " in result.stdout
    report = json.loads((folder / "report/report.json").read_text())
    assert report["summary"]["true gain, dB"] > 5
    assert "true_rmse_after" in (folder / "report/report.json").read_text()
    again = tvjax("demo", "--stack", "--frames", 16)
    assert again.exit_code == 1 and "holds a report" in again.stderr
