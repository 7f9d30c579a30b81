"""How does a command run: its errors, its progress, and what it keeps?

What reads, computes and draws is imported inside the commands, lest `--help` wait.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from tvjax.settings import SettingsError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


@contextmanager
def sentences() -> Iterator[None]:
    """Turn every error that a user can meet into one sentence and an exit code."""
    from tvjax.io import FileError

    try:
        yield
    except SettingsError as error:
        code, sentence = MISUSED, str(error)
    except (FileError, ValueError) as error:
        code, sentence = FAILED, str(error)
    except KeyboardInterrupt:
        code, sentence = INTERRUPTED, "Interrupted: nothing was written."
    else:
        return
    typer.echo(f"tvjax: {sentence}", err=True)
    raise typer.Exit(code)


@contextmanager
def progress_bar(
    waiting: str, unit: str = "frames"
) -> Iterator[Callable[[int, int], None]]:
    """Show rate and remaining time on a terminal, and nothing in a pipe."""
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
