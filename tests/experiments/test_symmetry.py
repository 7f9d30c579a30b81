from importlib.util import find_spec

import pytest

from tests.experiments.quick import colors_of, run_quick

pytestmark = pytest.mark.slow


def test_networks_that_learn_from_symmetry_are_compared(tmp_path):
    tables = run_quick("symmetry.network", tmp_path)
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


@pytest.mark.skipif(find_spec("pyFAI") is None, reason="pyFAI is not installed")
def test_physics_from_weak_patterns_is_judged_beside_its_bound(tmp_path):
    tables = run_quick("symmetry.physics", tmp_path)
    (checks,) = (rows for name, rows in tables.items() if name.startswith("Fits to"))
    for row in checks:
        if row["counts"] == 5:
            # a dozen exposures tell a standard deviation within some 20 %
            assert 0.5 < float(row["raw, likelihood"]) < 1.6
    names = {row["quantity"] for row in checks}
    assert {"ring width", "radius of gyration", "pair distribution"} < names
    for row in tables["Error over the Cramér-Rao bound"]:
        assert float(row["ours"]) > 0
    (saved,) = (rows for name, rows in tables.items() if name.startswith("Exposure"))
    for row in saved:
        # two exposures for one, but for masks
        assert 1.5 < float(row["orbit mean"]) < 2.6
    # a line for each of some methods
    assert {"C0", "C1", "C2", "C3"} <= colors_of(tmp_path / "physics.png")


def test_orbits_help_and_a_wrong_centre_is_refused(tmp_path):
    tables = run_quick("symmetry.orbits", tmp_path)
    (errors,) = tables["Errors"]
    assert errors["orbit + TV, dB over own TV"] > 0
    assert abs(errors["mean by TV, % off"]) < 0.1
    (refusals,) = tables["Refusals"]
    assert refusals["off by one refused, %"] == 100
