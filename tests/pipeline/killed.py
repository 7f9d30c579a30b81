"""Commands that are ended by force, and what must come of them all the same."""

import re
import subprocess
import sys
import time

import numpy as np

from tvjax.io import save_series, save_stack, series_of, stack_of

# What runs differ in by nature: when they ended.
DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")

START = "from tvjax.cli import main; main()"

PATTERNS = ("patterns_master.h5", "--group", "friedel", "--centre", "23.5,23.5")
COMMANDS = {
    "denoise": (
        *("denoise", "scan_master.h5", "-o", "{}/clean_master.h5"),
        *("--alpha", "2", "--noise", "poisson"),
    ),
    "stack": ("stack", "stack.h5", "-o", "{}/clean.h5"),
    "symmetry": ("symmetry", *PATTERNS, "-o", "{}/clean_master.h5"),
    "train": (
        *("train", *PATTERNS, "-o", "{}/w.safetensors"),
        *("--steps", "150", "--batch", "2"),
    ),
}


def save_inputs(folder):
    """Write a scan, a series of patterns and a stack for the commands."""
    rng = np.random.default_rng(0)
    y, x = np.indices((48, 48)) - 23.5
    rings = 20 + 10 * np.cos(np.hypot(y, x) / 3)
    counts = rng.poisson(rings, (40, 48, 48)).astype(np.uint32)
    save_series(folder / "patterns_master.h5", series_of(counts))
    scan = rng.poisson(2.0, (150, 160, 160)).astype(np.uint32)
    save_series(folder / "scan_master.h5", series_of(scan))
    energies = np.linspace(8300, 8400, 20)
    edges = 8340 + 5 * np.arange(3)[:, None]
    spectra = 1 / (1 + np.exp((edges - energies) / 3))
    amounts = np.kron(rng.random((3, 6, 6)), np.ones((1, 16, 16)))
    density = np.tensordot(spectra.T, amounts, 1)
    density += 0.02 * rng.normal(size=density.shape)
    stack = stack_of(density.astype(np.float32), energies, unit="optical density")
    save_stack(folder / "stack.h5", stack)


def start(command, folder, output, *options):
    """Start one of the commands."""
    arguments = [part.format(output) for part in COMMANDS[command]]
    return subprocess.Popen(
        [sys.executable, "-c", START, *arguments, *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(command, folder, output, *options):
    """Run one of the commands to its end, and return what it says."""
    running = start(command, folder, output, *options)
    text = running.communicate()[0]
    assert running.returncode == 0, text
    return text


def kept_in(folder):
    """Whether a run has begun to keep its work."""
    return any(folder.glob(".*.journal")) or any(folder.glob("*.checkpoint"))


def time_of(command, folder, output):
    """Seconds of a run until it keeps something, and from then to its end."""
    began = time.monotonic()
    running = start(command, folder, output)
    while running.poll() is None and not kept_in(folder / output):
        time.sleep(0.01)
    kept = time.monotonic()
    text = running.communicate()[0]
    assert running.returncode == 0, text
    return kept - began, time.monotonic() - kept


def kill_after(seconds, command, folder, output, *, kept):
    """Start a command and end it by SIGKILL; return whether it was still running.

    Args:
        seconds: When, from its start, or from where it has kept something.
        command: Name of the command.
        folder: Where it runs.
        output: Where it writes.
        kept: Whether to wait until it has kept something.
    """
    running = start(command, folder, output)
    while kept and running.poll() is None and not kept_in(folder / output):
        time.sleep(0.01)
    time.sleep(seconds)
    running.kill()
    running.communicate()
    return running.returncode != 0


def contents(folder):
    """The files of a folder by name, hidden ones too, without their dates."""
    return {
        path.name: DATE.sub(b"", path.read_bytes())
        for path in folder.iterdir()
        if not path.name.endswith(".jsonl")
    }
