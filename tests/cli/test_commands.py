import subprocess
import sys

import jax
import pytest


def test_help_does_not_load_what_reads_and_draws():
    code = (
        "import sys, tvjax.cli; "
        "heavy = ('h5py', 'fabio', 'tifffile', 'matplotlib'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("command", [(), ("denoise",), ("info",), ("demo",)])
def test_every_command_has_help(tvjax, command):
    result = tvjax(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version(tvjax):
    assert tvjax("--version").stdout == "0.1.0\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Compile into a folder of this test, and leave jax as it was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    yield tmp_path / "cache"
    for name, value in before.items():
        jax.config.update(name, value)


def test_what_is_compiled_is_kept(tvjax, scan, cache):
    assert tvjax("info", scan).exit_code == 0
    assert jax.config.jax_compilation_cache_dir == str(cache / "tvjax")


def test_a_folder_that_cannot_hold_the_cache_is_no_obstacle(
    tvjax, scan, tmp_path, halve, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert tvjax("denoise", scan, "-o", tmp_path / "c.h5").exit_code == 0
