from dataclasses import dataclass
from pathlib import Path

import pytest

from tvjax.pipeline.outcome import AbstractOutcome


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Copied(AbstractOutcome):
    """An outcome of next to nothing."""

    def facts(self):
        return {"input": self.source, "output": f"<{self.output}>"}

    def numbers(self):
        return {"frames": 3}


@pytest.fixture
def copied():
    return Copied(
        output=Path("clean.h5"), source="raw.h5", seconds=2.5, warnings=("look & see",)
    )


def test_the_values_stand_between_the_files_and_the_warnings(copied):
    assert list(copied.asdict().items()) == [
        ("output", "clean.h5"),
        ("input", "raw.h5"),
        ("frames", 3),
        ("warnings", ["look & see"]),
        ("seconds", 2.5),
    ]


def test_the_report_has_a_line_a_fact_and_a_warning(copied):
    assert copied.report().splitlines() == [
        "input      raw.h5",
        "output     <clean.h5>",
        "WARNING    look & see",
    ]


def test_a_notebook_shows_a_table_that_is_escaped(copied):
    table = copied._repr_html_()
    assert "<td>&lt;clean.h5&gt;</td>" in table and "look &amp; see" in table
    assert table.count("<tr>") == 3


def test_it_says_in_short_what_it_is(copied):
    assert repr(copied) == "<Copied clean.h5, 2.5 s, 1 warnings>"


def test_an_outcome_must_have_facts_and_numbers():
    with pytest.raises(TypeError, match="abstract"):
        AbstractOutcome(output=Path("x"), source="", seconds=0.0)
