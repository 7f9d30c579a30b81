"""Damaged files of every kind: what does tvjax make of them?

Each seed makes a valid file, damages it, and lets tvjax use it in a process that can be
ended. A file must be read, or be refused in one sentence: no traceback, no crash, no
hang, no memory beyond what an honest file needs. `--seed N` runs one seed again and
says what happened; `--first N` starts the seeds there.
"""

import contextlib
import faulthandler
import multiprocessing
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

import tvjax
from experiments.common.damage import damage_bytes, damage_objects
from experiments.common.measure import output_folder, parser, Record, Report
from experiments.common.samples import HDF5, KINDS, make, Sample
from tvjax.cli.running import keep_compiled
from tvjax.io import FileError
from tvjax.settings import SettingsError

# Seeds of a run, and of a quick one.
SEEDS, QUICK = 10_000, 300

# Seconds that a small file may take: a first compilation, on a busy machine, included.
PATIENCE = 20.0

# What hangs without work to do, as at a pipe, may take longer on a busy machine.
WAITING = 60.0

# Bytes of memory that a process of this size may grow by for files of some kilobytes:
# compilation takes a few hundred megabytes.
ROOM = 2**29

PACKAGE = str(Path(tvjax.__file__).parent)


class Outcome(NamedTuple):
    """What became of a damaged file."""

    seed: int
    kind: str  # of file
    damage: str
    end: str  # "read", "sentence", or what must not be
    text: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended as it must not."""
        return self.end not in ("read", "sentence")


class Originals:
    """Valid files, made once for each kind and laid out anew for each use."""

    def __init__(self, folder: Path) -> None:
        """Keep files in a folder."""
        self._folder = folder
        self._made: dict[str, tuple[Sample, dict[Path, bytes]]] = {}

    def lay_out(self, kind: str) -> Sample:
        """Return a sample whose files are as they were made."""
        folder = self._folder / kind.replace(" ", "_")
        if kind not in self._made:
            folder.mkdir()
            sample = make(kind, folder)
            contents = {path: path.read_bytes() for path in folder.iterdir()}
            self._made[kind] = sample, contents
        sample, contents = self._made[kind]
        shutil.rmtree(folder)
        folder.mkdir()
        for path, content in contents.items():
            path.write_bytes(content)
        return sample


def plan(seed: int) -> tuple[str, np.random.Generator]:
    """Return the kind of file of a seed, and what its damage is drawn from."""
    kinds = list(KINDS)
    # HDF5 has the most that can break
    kinds += 2 * list(HDF5)
    return kinds[seed % len(kinds)], np.random.default_rng(seed)


def attempt(seed: int, originals: Originals) -> Outcome:
    """Damage a file, and use it."""
    kind, random = plan(seed)
    sample = originals.lay_out(kind)
    path = sample.files[int(random.integers(len(sample.files)))]
    damage = _damage(path, random)
    use = sample.uses[int(random.integers(len(sample.uses)))]
    end, text = _ending(use)
    peak = _peak()
    if peak > ROOM:
        end, text = "memory", f"{peak / 1e6:.0f} MB more: {text}"
    return Outcome(seed, kind, damage, end, text)


def _damage(path: Path, random: np.random.Generator) -> str:
    """Damage a file so that it differs from what it was, and return in a word how."""
    before, damage = path.read_bytes(), "half a change"
    while path.read_bytes() == before:
        if h5py.is_hdf5(path) and random.random() < 0.6:
            # not every change is possible in every file
            with contextlib.suppress(KeyError, OSError, TypeError, ValueError):
                damage = damage_objects(path, random)
        else:
            damage = damage_bytes(path, random)
    return damage


def _ending(use) -> tuple[str, str]:
    """Return how a use ends, and what it says."""
    _reset_peak()
    try:
        use()
    except (FileError, SettingsError) as error:
        return _judged(str(error))
    except ValueError as error:
        # a sentence of our own, or a library's remark that happens to reach the user
        frames = traceback.extract_tb(error.__traceback__)
        if frames[-1].filename.startswith(PACKAGE):
            return _judged(str(error))
        return "traceback", traceback.format_exc()
    except MemoryError:
        return "memory", traceback.format_exc()
    except BaseException:
        return "traceback", traceback.format_exc()
    return "read", ""


def _judged(text: str) -> tuple[str, str]:
    """Return whether a text is a sentence that a terminal can show."""
    fair = text.endswith(".") and not re.search(r"[\x00-\x1f\x7f-\x9f]", text)
    return ("sentence" if fair and len(text) < 1500 else "no sentence"), repr(text)


def _reset_peak() -> None:
    """Let the system forget the greatest size of this process."""
    Path("/proc/self/clear_refs").write_text("5")
    _sizes["before"] = _size("VmRSS")


_sizes: dict[str, int] = {}


def _peak() -> int:
    """Return by how many bytes this process was larger than before."""
    return _size("VmHWM") - _sizes["before"]


def _size(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def work(pipe: Connection, log: int) -> None:
    """Answer the seeds that come, until none comes; note in a file what kills it."""
    warnings.simplefilter("error")  # which would stand between the lines of a command
    limit = 24 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keep_compiled()
    os.dup2(log, 2)
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        originals = Originals(Path(folder))
        while (seed := pipe.recv()) is not None:
            os.truncate(log, 0)
            faulthandler.dump_traceback_later(WAITING - 5)
            pipe.send(attempt(seed, originals))
            faulthandler.cancel_dump_traceback_later()


class Worker:
    """A process that uses damaged files, and can be ended."""

    def __init__(self) -> None:
        """Start it."""
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.log = tempfile.TemporaryFile("w+")
        arguments = (other, self.log.fileno())
        self.process = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        other.close()
        self.seed: int | None = None
        self.started = self.worked = 0.0

    def give(self, seed: int | None) -> None:
        """Let it try a seed, or end."""
        self.seed, self.started = seed, time.monotonic()
        self.worked = self._worked()
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send(seed)

    def is_late(self) -> bool:
        """Return whether it works or waits longer than any file is worth."""
        if time.monotonic() - self.started > WAITING:
            return True
        return self._worked() - self.worked > PATIENCE

    def _worked(self) -> float:
        """Return the seconds of processor time that it took so far."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return 0.0
        user, system = fields.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def end(self) -> str:
        """End it, and return how it ended."""
        self.process.join(1)
        code = self.process.exitcode
        self.process.kill()
        self.process.join()
        self.log.seek(0)
        return f"exit code {code}\n{self.log.read()}"


def outcomes(seeds: range, number: int) -> Iterator[Outcome]:
    """Yield what becomes of each seed, by so many processes."""
    pending = iter(seeds)
    workers = [Worker() for _ in range(number)]
    for worker in workers:
        worker.give(next(pending, None))
    while busy := [worker for worker in workers if worker.seed is not None]:
        ready = wait([worker.pipe for worker in busy], timeout=1.0)
        for worker in busy:
            seed = worker.seed
            assert seed is not None
            late = worker.is_late()
            if worker.pipe not in ready and not late:
                continue
            try:
                if worker.pipe not in ready:
                    raise TimeoutError
                yield worker.pipe.recv()
            except (EOFError, ConnectionError, TimeoutError) as error:
                end = "hang" if isinstance(error, TimeoutError) else "crash"
                yield Outcome(seed, plan(seed)[0], "", end, worker.end())
                workers[workers.index(worker)] = worker = Worker()
            worker.give(next(pending, None))


def main() -> None:
    """Run the seeds, and report the failures."""
    options = parser(__doc__ or "")
    options.add_argument("--seed", type=int, help="run this one again, and tell all")
    options.add_argument("--first", type=int, default=0, help="seed to start with")
    options.add_argument("--number", type=int, help="of seeds")
    options.add_argument("--workers", type=int, default=2, help="processes")
    chosen = options.parse_args()
    if chosen.seed is not None:
        again(chosen.seed)
        return
    number = chosen.number or (QUICK if chosen.quick else SEEDS)
    report = Report("Damaged files", seeds=number, first=chosen.first)
    counts: dict[str, Counter[str]] = {}
    failures: list[Record] = []
    for outcome in outcomes(range(chosen.first, chosen.first + number), chosen.workers):
        counts.setdefault(outcome.kind, Counter())[outcome.end] += 1
        if outcome.failed:
            last = outcome.text.strip().splitlines()[-1:] or [""]
            failures.append(outcome._asdict() | {"text": last[0][:200]})
            print(f"--seed {outcome.seed}: {outcome.kind}, {outcome.damage}, ", end="")
            print(f"{outcome.end}\n{outcome.text}", flush=True)
    ends = sorted({"read", "sentence"}.union(*counts.values()))
    table = [
        {"kind": kind, **{end: found[end] for end in ends}}
        for kind, found in sorted(counts.items())
    ]
    report.add("How they end", table)
    report.add("Failures", failures)
    report.save(output_folder(chosen, __file__), "fuzz")
    sys.exit(bool(failures))


def again(seed: int) -> None:
    """Run one seed in this process, with all that it says."""
    faulthandler.enable()
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    folder = Path(tempfile.mkdtemp(prefix="tvjax_"))
    print(f"in {folder}")
    print("\n".join(map(str, attempt(seed, Originals(folder)))))


if __name__ == "__main__":
    main()
