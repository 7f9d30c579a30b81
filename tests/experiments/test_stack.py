from importlib.util import find_spec

import numpy as np
import pytest

from tests.experiments.quick import colors_of, run_quick, share_of_gray


@pytest.mark.slow
@pytest.mark.skipif(find_spec("skimage") is None, reason="the rivals are missing")
def test_stacks_are_denoised_by_all_rivals_and_earlier_tables_are_kept(tmp_path):
    parts = "table1", "figure5", "figure6", "figure8"
    first = run_quick("stack.tables", tmp_path, "--parts", *parts)
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
    # lines of figures 5 and 6, and frames and maps beside each other
    assert {"C0", "C1"} <= colors_of(tmp_path / "tables.png")
    assert share_of_gray(tmp_path / "maps.png") > 0.1
    # measured data take no part in a quick run
    assert run_quick("stack.tables", tmp_path, "--parts", "measured") == first


@pytest.mark.skipif(find_spec("skimage") is None, reason="the rivals are missing")
def test_rivals_are_what_they_are_said_to_be():
    rivals = pytest.importorskip("experiments.stack.rivals")
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
