import math
from importlib.util import find_spec

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.experiments.quick import run, run_quick, share_of_gray


@pytest.mark.slow
@pytest.mark.skipif(find_spec("skimage") is None, reason="the images are missing")
def test_denoisers_are_compared(tmp_path):
    tables = run_quick("networks.denoiser_psnr", tmp_path)
    rows = tables["Mean of scikit-image"]
    assert [row["sigma"] for row in rows] == [15, 25, 50]
    for row in rows:
        # 64² pixels tell the level of noise within some 0.1 dB
        assert abs(row["noisy, dB"] - 20 * math.log10(255 / row["sigma"])) < 0.5
        assert row["network, dB"] > row["TV, dB"]
    assert {row["denoiser"] for row in tables["Time"]} >= {"TV", "network"}
    # the same photograph by all denoisers fills most of the figure
    assert share_of_gray(tmp_path / "denoiser_psnr.png") > 0.3


@pytest.mark.skipif(
    find_spec("skimage") is None or find_spec("pywt") is None,
    reason="the images are missing",
)
@pytest.mark.slow
def test_training_that_was_cut_off_ends_at_the_same_weights(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    tables = run_quick("networks.train_network", whole)
    assert len(tables["Loss"]) == 8
    run("networks.train_network", parts, "--stop", "3")
    assert (parts / "train_network.checkpoint").exists()
    assert run_quick("networks.train_network", parts)["Loss"] == tables["Loss"]
    assert not (parts / "train_network.checkpoint").exists()
    # the same numbers; the header's entries come in any order
    first, second = (load_file(f / "network.safetensors") for f in (whole, parts))
    assert first and first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.slow
def test_network_for_counts_is_trained(tmp_path):
    tables = run_quick("networks.train_counts", tmp_path)
    assert [row["step"] for row in tables["Loss"]] == [4]
    assert {file.name for file in tmp_path.iterdir()} == {
        *("counts.safetensors", "train_counts.json", "train_counts.md"),
    }
