import json
import math
import re
from html import unescape

import numpy as np
import pytest
from matplotlib.figure import Figure

from tvjax.io import FileError
from tvjax.io.errors import printable
from tvjax.io.staging import Claim
from tvjax.report.page import (
    check_folder,
    PAGES,
    reserve_folder,
    Section,
    section,
    write_pages,
)

SECTIONS = (Section("What", "what.png", "A <b>caption</b>.", b"picture"),)


def write(folder, sections=SECTIONS, **numbers):
    return write_pages(
        folder, sections, title="A & B", caution="Look.", table=numbers, numbers=numbers
    )


def test_values_are_told_as_a_reader_wants_them(tmp_path):
    write(
        tmp_path,
        none=None,
        yes=True,
        number=1 / 3,
        small=(1, 2.5),
        long=list(range(5)),
        group={"inner_name": 2, "deep": {"x": "y"}},
    )
    rows = [
        line
        for line in (tmp_path / "report.md").read_text().splitlines()
        if "|" in line
    ]
    assert rows[2:] == [
        "| none | none |",
        "| yes | yes |",
        "| number | 0.333333 |",
        "| small | 1, 2.5 |",
        "| group, inner name | 2 |",
        "| group, deep, x | y |",
    ]


def test_what_json_does_not_know_becomes_what_it_knows(tmp_path):
    write(
        tmp_path,
        array=np.arange(3),
        scalar=np.float32(0.5),
        nothing=math.inf,
        file=tmp_path,
        nested=[np.array([np.nan, 1.0])],
    )
    found = json.loads((tmp_path / "report.json").read_text())
    assert found == {
        "array": [0, 1, 2],
        "scalar": 0.5,
        "nothing": None,
        "file": str(tmp_path),
        "nested": [[None, 1.0]],
        "pictures": ["what.png"],
    }


def test_pictures_lie_beside_the_pages_and_in_one_of_them(tmp_path):
    page = write(tmp_path)
    assert (tmp_path / "what.png").read_bytes() == b"picture"
    text = page.read_text()
    # "picture" in base 64
    assert "data:image/png;base64,cGljdHVyZQ==" in text
    assert "<h1>A &amp; B</h1>" in text and "Look." in text


def test_a_section_holds_its_figure_drawn():
    figure = Figure((1, 1))
    found = section("What", "what.png", "caption", figure)
    assert found.png.startswith(b"\x89PNG") and found.file == "what.png"


def test_pictures_of_an_earlier_report_go_and_all_else_stays(tmp_path):
    write(tmp_path)
    (tmp_path / "mine.png").write_bytes(b"mine")
    write(tmp_path, ())
    assert {file.name for file in tmp_path.iterdir()} == {*PAGES, "mine.png"}


@pytest.mark.parametrize("content", ["no json", "[]", "{}", '{"pictures": 3}'])
def test_a_damaged_report_is_replaced(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["pictures"]


def test_a_folder_with_a_report_is_kept(tmp_path):
    assert check_folder(tmp_path / "new", False) == tmp_path / "new"
    write(tmp_path)
    with pytest.raises(FileExistsError, match="report.md exists already"):
        check_folder(tmp_path, False)
    assert check_folder(tmp_path, True) == tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "a|b.h5",
        "<script>alert(1)</script>",
        "![x](http://e.org/y.png)",
        "[click](javascript:x)",
        "*strong* __strong__ `code` ~~gone~~",
        "\x1b[31mred\x00",
        "two\nlines | # heading",
        "back\\slash &lt; www.e.org a@e.org",
    ],
)
def test_what_a_user_named_is_nothing_but_text(tmp_path, text):
    write_pages(
        tmp_path,
        (),
        title="A",
        caution="Look.",
        table={"input": text, "warnings": [text]},
        numbers={},
    )
    page = (tmp_path / "report.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 2
    for row in rows:
        # what a backslash goes before, or an entity stands for, is text
        left = re.sub(r"\\[\\`*_\[\]|~$!]|&(amp|lt|gt|#\d+);", "", row)
        assert len(re.findall(r"\|", left)) == 3
        assert not re.search(r"[<>`*\[\]~&]|://|www\.|@|(?<!\w)__|[\x00-\x1f]", left)
        # and nothing of it is lost
        read = unescape(row)
        read = re.sub(r"\\([\\`*_\[\]|~$!])", r"\1", read)
        assert printable(" ".join(text.splitlines())) in read
    html = (tmp_path / "report.html").read_text()
    assert "<script>" not in html and "\x1b" not in html and "\x00" not in html


def test_a_plain_name_stays_readable_in_the_source(tmp_path):
    write_pages(
        tmp_path, (), title="A", caution="", table={"input": "a/scan_01.h5"}, numbers={}
    )
    assert "| input | a/scan_01.h5 |" in (tmp_path / "report.md").read_text()


def test_a_reserved_folder_is_written_by_who_has_it(tmp_path):
    folder = tmp_path / "report"
    with reserve_folder(folder, False) as reserved:
        with pytest.raises(FileError, match="written by another run: wait"):
            write(folder)
        write(check_folder(reserved, False))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    with pytest.raises(FileExistsError), reserve_folder(folder, False):
        pass


def test_a_file_in_place_of_the_folder_is_told_at_once(tmp_path):
    (tmp_path / "report").write_text("precious")
    with pytest.raises(FileError, match="report is a file: name a folder"):
        with reserve_folder(tmp_path / "report", True):
            pass
    with pytest.raises(FileError, match="cannot be written"):
        with reserve_folder(tmp_path / "report" / "inner", True):
            pass


def test_two_runs_cannot_write_one_report(tmp_path):
    folder = tmp_path / "report"
    with Claim(folder), pytest.raises(FileError, match="written by another run: wait"):
        write(folder)
    write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
