import pytest

from tests.experiments.quick import run_quick


@pytest.mark.slow
def test_rates_are_measured_in_turn(tmp_path):
    tables = run_quick("common.rates", tmp_path, "--rounds", "1")
    (records,) = tables.values()
    assert [record["type"] for record in records] == ["uint32", "uint16"]
    for record in records:
        assert record["worst"] <= record["ratio"] <= record["best"]


def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path):
    tables = run_quick("common.fuzz", tmp_path)
    rows = tables["How they end"]
    assert tables["Failures"] == []
    assert len(rows) == 19
    assert sum(row["read"] + row["sentence"] for row in rows) == 300
    # damage that no file notices tests nothing
    assert sum(row["sentence"] for row in rows) > 100
