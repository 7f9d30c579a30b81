import sys

import jax
import pytest
import typer
from typer.testing import CliRunner

from tvjax.cli.running import (
    FAILED,
    INTERRUPTED,
    MISUSED,
    progress_bar,
    report_folder,
    sentences,
    tell,
    version_of,
)
from tvjax.io import FileError
from tvjax.settings import SettingsError


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (SettingsError("`alpha` is odd."), MISUSED, "`alpha` is odd."),
        (FileError("x.h5 is gone."), FAILED, "x.h5 is gone."),
        (ValueError("no pixel."), FAILED, "no pixel."),
        (
            MemoryError(),
            FAILED,
            "There is not enough memory: take fewer frames with --frames, or a "
            "computer with more.",
        ),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."),
            FAILED,
            "There is not enough memory for JAX: take fewer frames with --frames, or "
            "set JAX_PLATFORMS=cpu where an accelerator has less than the computer.",
        ),
        (KeyboardInterrupt(), INTERRUPTED, "Interrupted: nothing was written."),
    ],
)
def test_an_error_becomes_a_sentence_and_a_code(capsys, error, code, sentence):
    with pytest.raises(typer.Exit) as end, sentences():
        raise error
    assert end.value.exit_code == code
    assert capsys.readouterr() == ("", f"tvjax: {sentence}\n")


def test_a_name_commands_the_terminal_nothing(capsys):
    with pytest.raises(typer.Exit), sentences():
        raise FileError("\x1b[31mred\x07\u202e.h5 is gone.")
    tell("output     a\rb\nnext")
    told = capsys.readouterr()
    assert told.err == "tvjax: \\x1b[31mred\\x07\\u202e.h5 is gone.\n"
    assert told.out == "output     a\\rb\nnext\n"


def test_a_folder_for_a_report_is_kept_during_the_run(tmp_path):
    folder = tmp_path / "report"
    with report_folder(folder, overwrite=False):
        with pytest.raises(FileError, match="report is being written by another run"):
            with report_folder(folder, overwrite=False):
                pass
    with report_folder(None, overwrite=False) as nothing:
        assert nothing is None
    assert not list(tmp_path.iterdir())


def test_an_error_that_no_user_can_mend_keeps_its_trace():
    with pytest.raises(ZeroDivisionError), sentences():
        raise ZeroDivisionError


def test_progress_is_silent_where_nobody_looks(capsys):
    with progress_bar("waiting") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_is_counted_on_a_terminal():
    app = typer.Typer()

    @app.command()
    def count():
        sys.stderr.isatty = lambda: True
        with progress_bar("waiting", "steps") as progress:
            progress(1, 2)
            progress(2, 2)

    result = CliRunner(env={"TERM": "xterm", "COLUMNS": "120"}).invoke(app)
    assert result.exit_code == 0
    assert "2/2 steps" in result.stderr and result.stdout == ""


def test_versions_are_those_of_what_is_installed():
    assert version_of("jax") == jax.__version__


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


def test_another_error_of_jax_is_no_sentence():
    with pytest.raises(RuntimeError, match="INTERNAL"), sentences():
        raise RuntimeError("INTERNAL: a bug")
