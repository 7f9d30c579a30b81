import pytest

from tests.experiments.quick import run_quick


@pytest.mark.slow
def test_rates_are_measured_in_turn(tmp_path):
    tables = run_quick("common.rates", tmp_path, "--rounds", "1")
    (records,) = tables.values()
    assert [record["type"] for record in records] == ["uint32", "uint16"]
    for record in records:
        assert record["worst"] <= record["ratio"] <= record["best"]
