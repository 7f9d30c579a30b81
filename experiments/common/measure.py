"""Times, tables and options that all experiments share."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, UTC
from pathlib import Path
from typing import Any, NamedTuple

Record = dict[str, Any]

ROOT = Path(__file__).parents[2]

# The folder of measured data and test images, which are not part of the project.
DATA = Path(os.environ.get("TVJAX_DATA", ROOT / "../shared/data"))


class Timing(NamedTuple):
    """Seconds of several runs of one task, and of the first, which compiled it."""

    median: float
    minimum: float
    first: float

    @property
    def compilation(self) -> float:
        """Seconds that only the first run took."""
        return max(self.first - self.median, 0.0)


def interleave(
    tasks: dict[str, Callable[[], object]], repeats: int
) -> dict[str, Timing]:
    """Time tasks in turn, so that a busy machine hits them all alike.

    Args:
        tasks: Functions that return when their work is done, and not before.
        repeats: Number of runs of each after the first.
    """
    first = {name: seconds(task) for name, task in tasks.items()}
    runs = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            runs[name].append(seconds(task))
    return {
        name: Timing(statistics.median(times), min(times), first[name])
        for name, times in runs.items()
    }


def seconds(task: Callable[[], object]) -> float:
    """How long one run of a task takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def ask_pinned(module: str, request: Record, threads: int) -> Record:
    """Answer a request in a new process that has so many processor cores to itself.

    JAX and numba count the cores when they are first imported, and never again.

    Args:
        module: An experiment that runs as `python -m module --worker FILE`, and then
            calls `answer`.
        request: A request in types that JSON knows.
        threads: Number of cores; all there are if these are fewer.
    """
    cores = sorted(os.sched_getaffinity(0))[:threads]
    count = str(len(cores))
    environment = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"), count)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "request.json"
        file.write_text(json.dumps(request))
        with _pinned(set(cores)):
            subprocess.run(
                [sys.executable, "-m", module, "--worker", str(file)],
                cwd=ROOT,
                env=os.environ | environment,
                check=True,
            )
        return json.loads(file.read_text())


def answer(file: Path, respond: Callable[[Record], Record]) -> None:
    """Replace the request in a file by the response: the worker of `ask_pinned`."""
    file.write_text(json.dumps(respond(json.loads(file.read_text()))))


@contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """Bind this thread, and the processes that it starts, to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Report:
    """Tables that are printed as they come, and saved together at the end."""

    def __init__(self, title: str, **facts: object):
        """Start a report; the facts say on what machine, with what settings."""
        self.title = title
        self.facts = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
            "python": platform.python_version(),
            **facts,
        }
        self.tables: dict[str, list[Record]] = {}
        self.text: list[str] = []
        self._write(f"# {title}")
        self._write("\n".join(f"- {name}: {fact}" for name, fact in self.facts.items()))

    def add(self, heading: str, records: Sequence[Record], note: str = "") -> None:
        """Print a table of records that share their keys."""
        self.tables[heading] = list(records)
        blocks = [f"## {heading}", note, render(records)]
        self._write("\n\n".join(filter(None, blocks)))

    def say(self, line: str) -> None:
        """Print a line between the tables."""
        self._write(line)

    def save(self, folder: Path, stem: str) -> list[Path]:
        """Write the report as JSON and as Markdown."""
        folder.mkdir(parents=True, exist_ok=True)
        data = {"title": self.title, **self.facts, "tables": self.tables}
        files = [folder / f"{stem}.json", folder / f"{stem}.md"]
        files[0].write_text(json.dumps(data, indent=1) + "\n")
        files[1].write_text("\n\n".join(self.text) + "\n")
        print(f"saved in {folder}: {', '.join(file.name for file in files)}")
        return files

    def _write(self, text: str) -> None:
        self.text.append(text)
        print(text, end="\n\n", flush=True)


def render(records: Sequence[Record]) -> str:
    """A Markdown table, one row a record, its columns aligned."""
    if not records:
        return "(nothing)"
    cells = [list(records[0])]
    cells += [[_format(record[key]) for key in cells[0]] for record in records]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in cells
    )


def _format(value: object) -> str:
    if value is None:
        return "never"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all experiments have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs"
    )
    options.add_argument(
        "--output",
        type=Path,
        help="folder for the results (default: `results` beside the experiment, "
        "and a new one for --quick)",
    )
    return options


def training_parser(description: str, num_steps: int) -> argparse.ArgumentParser:
    """The options of experiments that train a network."""
    options = parser(description)
    options.add_argument(
        "--steps", type=int, help=f"of each training (default {num_steps})"
    )
    options.add_argument("--seed", type=int, default=0, help="of everything drawn")
    return options


def output_folder(options: argparse.Namespace, script: str) -> Path:
    """The folder for the results of a script, given by its `__file__`.

    A quick run must not overwrite the results of a full one, and has a new folder.
    """
    if options.output is not None:
        return options.output
    if options.quick:
        return Path(tempfile.mkdtemp(prefix="tvjax_"))
    return Path(script).parent / "results"


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()
