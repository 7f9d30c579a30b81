"""All code that a reader can copy from README and docs runs as it stands."""

import re

import pytest

from tests.documents import BLOCK, PAGES, ROOT

LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")


# The pages on methods compile the most, and change the least.
RUN = [
    pytest.param(page, marks=pytest.mark.slow)
    if page.parent.name == "methods"
    else page
    for page in PAGES
]


def anchors(text):
    """The names by which the headings of a page are linked to."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, names = page.read_text(), {}
    for block in BLOCK.finditer(text):
        if block[1] == "python":
            above = "\n" * text.count("\n", 0, block.start(2))  # for the traceback
            exec(compile(above + block[2], str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_readme_sets_up_in_two_commands():
    page = (ROOT / "README.md").read_text()
    commands = [code for kind, code in BLOCK.findall(page) if kind == "bash"]
    assert [command.count("\n") for command in commands] == [1, 1]
    assert commands[0].endswith("tvjax demo\n")
    assert commands[1].endswith("pytest -n 2 --dist loadfile\n")
