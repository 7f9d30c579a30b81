import math
from importlib.util import find_spec

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.quick import ROOT, run, run_quick


@pytest.mark.slow
@pytest.mark.skipif(find_spec("skimage") is None, reason="the rivals are missing")
def test_stacks_are_denoised_by_all_rivals_and_earlier_tables_are_kept(tmp_path):
    parts = "table1", "figure5", "figure6", "figure8"
    first = run_quick("sum_tables", tmp_path, "--parts", *parts)
    scores = {
        (row["scene"], row["method"]): row["FPSNR"]
        for row in first["Table 1"]
        if row["FPSNR"] != ""
    }
    for scene in ("simulated, regions", "simulated, random"):
        # a mean of 27 values, where one frame has the noise of one
        assert scores[scene, "3-D median"] > scores[scene, "noisy"] + 5
        assert scores[scene, "tvjax"] > scores[scene, "SVD"] + 3
    assert {row["denoiser"] for row in first["Figure 5"]} == {"TV", "tvjax"}
    for name in ("sum_tables.png", "sum_maps.png"):
        assert (tmp_path / name).exists()
    # measured data take no part in a quick run
    assert run_quick("sum_tables", tmp_path, "--parts", "measured") == first


@pytest.mark.skipif(find_spec("skimage") is None, reason="the rivals are missing")
def test_rivals_are_what_they_are_said_to_be(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    rivals = pytest.importorskip("sum_rivals")
    rng = np.random.default_rng(0)
    truth = np.tensordot(rng.normal(size=(12, 3)), rng.normal(size=(3, 20, 20)), 1)
    truth = truth.astype(np.float32)
    components = rivals.decompose(truth)
    np.testing.assert_allclose(components.stack(3), truth, atol=1e-4)
    y = truth + rng.normal(size=truth.shape).astype(np.float32)
    raw = rivals.decompose(y, 5)
    rows = y.reshape(12, -1)
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    np.testing.assert_allclose(
        raw.stack(4).reshape(12, -1),
        left[:, :4] * values[:4] @ right[:4],
        atol=1e-3,
    )
    found = rivals.by_rank(raw, truth).errors
    assert found[3] == pytest.approx(np.mean((raw.stack(4) - truth) ** 2), rel=1e-4)
    # without a denoiser, the divergence of a fixed basis is one a pixel and component
    risks = rivals.fixed_basis_risks(y, raw, raw, keep, 1.0)
    residual = np.mean((raw.stack(4) - y) ** 2)
    assert risks[3] == pytest.approx(residual - 1 + 2 * 4 / 12, rel=1e-3)


def keep(image, sigma):
    """No denoiser."""
    return image


@pytest.mark.skipif(find_spec("skimage") is None, reason="the images are missing")
def test_denoisers_are_compared(tmp_path):
    tables = run_quick("denoiser_psnr", tmp_path)
    rows = tables["Mean of scikit-image"]
    assert [row["sigma"] for row in rows] == [15, 25, 50]
    for row in rows:
        # 64² pixels tell the level of noise within some 0.1 dB
        assert abs(row["noisy, dB"] - 20 * math.log10(255 / row["sigma"])) < 0.5
        assert row["network, dB"] > row["TV, dB"]
    assert {row["denoiser"] for row in tables["Time"]} >= {"TV", "network"}
    assert (tmp_path / "denoiser_psnr.png").exists()


@pytest.mark.skipif(
    find_spec("skimage") is None or find_spec("pywt") is None,
    reason="the images are missing",
)
def test_training_that_was_cut_off_ends_at_the_same_weights(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    tables = run_quick("train_network", whole)
    assert len(tables["Loss"]) == 8
    run("train_network", parts, "--stop", "3")
    assert (parts / "train_network.checkpoint").exists()
    assert run_quick("train_network", parts)["Loss"] == tables["Loss"]
    assert not (parts / "train_network.checkpoint").exists()
    # the same numbers; the header's entries come in any order
    first, second = (load_file(f / "network.safetensors") for f in (whole, parts))
    assert first and first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
