"""Every command that a reader can copy from README and docs runs as it stands."""

import shlex
from contextlib import chdir

import pytest
from typer.testing import CliRunner

from tests.documents import BLOCK, PAGES
from tvjax.cli import app
from tvjax.io import save_series
from tvjax.pipeline.demo import scan_series
from tvjax.simulate import Detector, Scan


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder `tvjax_demo`, of a smaller detector and fewer frames."""
    folder = tmp_path_factory.mktemp("demo")
    small = Detector(num_columns=128, module_rows=60, gap_rows=8, pixel_size=0.6)
    scan = scan_series(Scan(num_frames=2, detector=small))
    save_series(folder / "tvjax_demo/raw/scan_master.h5", scan)
    name = "scan_master.h5"
    run(f"tvjax denoise tvjax_demo/raw/{name} -o tvjax_demo/clean/{name}", folder)
    return folder / "tvjax_demo"


def run(line, folder):
    """Run a command in this process, which has imported and compiled before."""
    program, *arguments = shlex.split(line)
    assert program == "tvjax"
    with chdir(folder):
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output


# The commands on stacks take a minute, and are those of tests/cli as well.
RUN = [
    pytest.param(page, marks=pytest.mark.slow) if page.stem == "stack" else page
    for page in PAGES
]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
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
