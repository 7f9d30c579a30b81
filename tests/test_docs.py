"""Everything that a reader can copy from README and docs runs as it stands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tvjax.demo import scan_series
from tvjax.io import save_series
from tvjax.simulate import Detector, Scan

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder `tvjax_demo`, of a smaller detector and fewer frames."""
    folder = tmp_path_factory.mktemp("demo")
    small = Detector(num_columns=260, module_rows=130, gap_rows=10)
    scan = scan_series(Scan(num_frames=2, detector=small))
    save_series(folder / "tvjax_demo/raw/scan_master.h5", scan)
    name = "scan_master.h5"
    run(f"tvjax denoise tvjax_demo/raw/{name} -o tvjax_demo/clean/{name}", folder)
    return folder / "tvjax_demo"


def run(line, folder):
    """Run a command as a shell would."""
    program, *arguments = shlex.split(line)
    assert program == "tvjax"
    code = "from tvjax.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def anchors(text):
    """The names by which the headings of a page are linked to."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, names = page.read_text(), {}
    for block in BLOCK.finditer(text):
        if block[1] == "python":
            above = "\n" * text.count("\n", 0, block.start(2))  # for the traceback
            exec(compile(above + block[2], str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run(page, tmp_path, request):
    blocks = [
        code for kind, code in BLOCK.findall(page.read_text()) if kind == "console"
    ]
    if any("tvjax_demo" in code for code in blocks):
        (tmp_path / "tvjax_demo").symlink_to(request.getfixturevalue("demo"))
    for line in "".join(blocks).splitlines():
        command = line.removeprefix("$ ")
        if command.startswith("tvjax demo "):
            command += " --frames 16"
        if command != "tvjax demo":
            run(command, tmp_path)


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
