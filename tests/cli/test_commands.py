import subprocess
import sys

import pytest

from tvjax.cli import app

HEAVY = ("jax", "numpy", "scipy", "h5py", "fabio", "tifffile", "matplotlib")


@pytest.mark.parametrize("arguments", [["--help"], ["info", "--help"]])
def test_help_loads_nothing_that_computes_reads_or_draws(arguments):
    code = (
        f"import sys\nsys.argv = ['tvjax', *{arguments}]\n"
        "from tvjax.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "Usage: tvjax" in found.stdout
    assert found.stderr == "[]\n"


COMMANDS = "denoise", "stack", "symmetry", "train", "predict", "info", "demo"


def test_the_commands_are_these(tvjax):
    assert [command.name for command in app.registered_commands] == list(COMMANDS)
    for name in COMMANDS:
        assert f" {name} " in tvjax("--help").stdout


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help(tvjax, command):
    result = tvjax(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version(tvjax):
    assert tvjax("--version").stdout == "0.1.0\n"
