from importlib.util import find_spec
from itertools import pairwise

import pytest

from tests.experiments.quick import colors_of, run_quick


@pytest.mark.skipif(
    find_spec("numba") is None or find_spec("skimage") is None,
    reason="the peers are not installed",
)
@pytest.mark.slow
def test_contestants_solve_the_same_problem(tmp_path):
    tables = run_quick("tv.benchmark", tmp_path)
    for case in ("camera", "diffraction"):
        rows = tables[f"Steps to (P − P*)/P*: {case}"]
        assert all(row["1e-03"] is not None for row in rows)
    (chosen,) = tables["Choice of alpha, 1 thread"]
    assert chosen["denoise, solves"] > 0
    # a line for each contestant: two of ours, two others
    assert {"C0", "C1", "C2", "C3"} <= colors_of(tmp_path / "benchmark.png")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("skimage") is None, reason="the images are missing")
def test_no_choice_is_better_than_the_oracle(tmp_path):
    tables = run_quick("tv.alpha_oracle", tmp_path)
    assert {row["group"] for row in tables["Summary"]} == {
        "Gaussian",
        "Poisson",
        "mixed",
    }
    assert all(row["error / oracle"] >= 1 for row in tables["Every image"])
    # points of three groups
    assert {"C0", "C1", "C2"} <= colors_of(tmp_path / "alpha_oracle.png")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("skimage") is None, reason="the images are missing")
def test_slope_of_a_risk_under_white_noise_points_to_the_best_strength(tmp_path):
    tables = run_quick("tv.risk_slope", tmp_path)
    white = [row for row in tables["Every image"] if row["group"] == "Gaussian"]
    # the risk of some 4,000 pixels is uncertain near its least value
    assert white and all(row["farthest wrong, times the best"] < 1.3 for row in white)
    assert all(row["changes of sign"] == 1 for row in white)


@pytest.mark.slow
def test_no_choice_on_a_simulated_sweep_is_better_than_the_best(tmp_path):
    tables = run_quick("tv.real_choice", tmp_path)
    (row,) = tables["Simulated sweeps"]
    for weights in ("uniform", "variance"):
        assert row[f"{weights}: spread"] >= 1
        assert row[f"{weights}: worst"] >= row[f"{weights}: error over best, median"]
        assert row[f"{weights}: error over best, median"] >= 1
    # of measured data, what there is: the choice is among the grid that judges it
    assert all(
        row["spread"] >= 1 and row["held out, above best"] >= 0
        for row in tables["Measured"]
    )


@pytest.mark.slow
def test_a_long_scan_is_watched(tmp_path):
    tables = run_quick("tv.streaming", tmp_path)
    rows = tables["Memory on the way"]
    assert [row["frames"] for row in rows] == list(range(2, 17, 2))
    for before, after in pairwise(rows):
        assert before["seconds"] < after["seconds"]
        assert before["peak, MB"] <= after["peak, MB"]
    # Sixteen frames of 40 x 98 pixels are 0.3 MB. What is compiled is there after the
    # first frames; the allocator may take some more afterwards.
    assert rows[-1]["resident, MB"] - rows[1]["resident, MB"] < 30


@pytest.mark.slow
def test_a_certified_solve_is_one_loop_that_never_talks_to_the_host(tmp_path):
    tables = run_quick("tv.gpu", tmp_path)
    (compiled,) = tables["A certified solve as compiled"]
    assert compiled["outermost loops"] == 1
    assert compiled["talks with the host"] == 0
    double, single = tables["Agreement in float64"]
    key = "largest difference to the CPU's float64, counts"
    assert double[key] < 1e-9
    # 1e-7 of the greatest count, some hundred roundings
    assert single[key] < 1e-5 * single["greatest count"]
