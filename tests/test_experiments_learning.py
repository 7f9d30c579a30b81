import pytest
from quick import run_quick

pytestmark = pytest.mark.slow


def test_networks_that_learn_from_symmetry_are_compared(tmp_path):
    tables = run_quick("symmetry_network", tmp_path)
    ours, supervised = (
        next(row for row in tables["Training"] if row["network"] == name)
        for name in ("ours", "supervised")
    )
    assert ours["weights"] == supervised["weights"]
    for row in tables["Mean PSNR, dB"]:
        # two exposures for one are 3 dB, but for masks
        assert 2 < row["orbit mean"] - row["raw"] < 4.5
    for row in tables["Counts left, share of the true ones"]:
        assert abs(row["ours, averaged"] - row["raw"]) < 0.01


def test_network_for_counts_is_trained(tmp_path):
    tables = run_quick("train_counts", tmp_path)
    assert [row["step"] for row in tables["Loss"]] == [4]
    assert {file.name for file in tmp_path.iterdir()} == {
        *("counts.safetensors", "train_counts.json", "train_counts.md"),
    }
