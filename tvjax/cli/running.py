"""How a command runs: its errors, its progress, and what it keeps.

What reads, computes and draws is loaded when a command first needs it, so that `--help`
need not wait: the fronts of the package are lazy, and the rest is imported here inside
functions.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from tvjax.io.errors import failure, FileError, lacks_memory, printable
from tvjax.settings import SettingsError

# Exit codes: the data or the files do not allow it, the command makes no sense, or it
# was interrupted, which shells report as 128 and the number of the signal.
FAILED, MISUSED, INTERRUPTED = 1, 2, 130


@contextmanager
def sentences() -> Iterator[None]:
    """Turn every error that a user can meet into one sentence and an exit code."""
    try:
        yield
    except SettingsError as error:
        code, sentence = MISUSED, str(error)
    except (FileError, ValueError, MemoryError) as error:
        code, sentence = FAILED, failure(error)
    except RuntimeError as error:
        if not lacks_memory(error):
            raise
        code, sentence = FAILED, failure(error)
    except KeyboardInterrupt as error:
        # where something was kept, the pipeline says so
        code, sentence = INTERRUPTED, str(error) or "Interrupted: nothing was written."
    else:
        return
    tell(f"tvjax: {sentence}", err=True)
    raise typer.Exit(code)


def tell(text: str, *, err: bool = False) -> None:
    """Print a text, in which names of files command the terminal nothing."""
    typer.echo(printable(text), err=err)


@contextmanager
def report_folder(folder: Path | None, *, overwrite: bool) -> Iterator[Any]:
    """Keep a folder for the report of a run, None where none is wanted."""
    if folder is None:
        yield None
        return
    from tvjax.report import reserve_report

    with reserve_report(folder, overwrite=overwrite) as reserved:
        yield reserved


def tell_unfinished(sentence: str | None) -> None:
    """Say that an earlier run could be resumed, as long as it is not too late."""
    if sentence is not None:
        tell(f"tvjax: {sentence}", err=True)


@contextmanager
def progress_bar(
    waiting: str, unit: str = "frames"
) -> Iterator[Callable[[int, int], None]]:
    """Show rate and remaining time on a terminal, and nothing in a pipe.

    Args:
        waiting: What is shown before the first step is done.
        unit: What is counted.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(waiting, total=None, rate="")

        def show(done: int, total: int) -> None:
            rate = f"{bar.tasks[0].speed or 0:.2f}/s"
            text = f"{done}/{total} {unit}"
            bar.update(task, completed=done, total=total, rate=rate, description=text)

        yield show


def keep_compiled() -> None:
    """Let the next run find what this one compiles, where a cache can be written."""
    import jax

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tvjax"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(cache, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def version_of(package: str) -> str:
    """The version of an installed package."""
    from importlib.metadata import version  # slow to load, and seldom needed

    return version(package)
