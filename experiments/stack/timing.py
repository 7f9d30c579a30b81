"""How long does it take, and how much memory? Each method in a process of its own."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from experiments.common.measure import answer, ask_pinned, Record, seconds
from experiments.stack.rivals import decompose, denoise_components, median, PLUG_INS, tv
from experiments.stack.scenes import Setup, Stack, STATES, Tables
from tvjax.simulate import add_gaussian, nickel_energies, scale_to_bytes, xanes_stack
from tvjax.stack import denoise_stack, fit_components

SIGMA = 60.0
# Of the stack that is streamed: bytes of a block, energies that are written at a time,
# and noise, in optical density.
BUDGET, WRITTEN, NOISE = 2**28, 32, 0.3


def table3(setup: Setup) -> Tables:
    """Seconds and memory on a stack as large as one of the paper's."""
    energies, height, width = setup.large
    scene = xanes_stack((height, width), energies=nickel_energies(energies))
    records, rank = [], STATES
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stack.npy"
        np.save(file, add_gaussian(scale_to_bytes(scene), SIGMA))
        del scene
        for task in TIMED:
            if task == "Gram-SVD + BM3D a component" and "BM3D" not in PLUG_INS:
                records.append({**dict.fromkeys(records[0], ""), "method": task})
                records[-1]["rank"] = "absent: not installed"
                continue
            request = {"task": task, "file": str(file), "rank": rank}
            found = ask_pinned(__spec__.name, request, 2)
            rank = found.pop("rank")
            records.append({"method": task, "rank": rank, **found})
    shape = "x".join(map(str, (height, width, energies)))
    return {f"Table 3, {shape}": records}


def streamed(setup: Setup) -> Tables:
    """A stack that is read from its file in blocks, and never held as a whole."""
    num_energies, height, width = setup.streamed
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stack.h5"
        write_stack(file, setup.streamed)
        request = {"task": "streamed", "file": str(file), "budget": BUDGET}
        found = ask_pinned(__spec__.name, request, 2)
        size = file.stat().st_size
    shape = "x".join(map(str, (height, width, num_energies)))
    row = {"stack, GiB": size / 2**30, "block, GiB": BUDGET / 2**30, **found}
    return {f"Streamed, {shape}": [row]}


def write_stack(file: Path, shape: tuple[int, int, int]) -> None:
    """Write a noisy stack a few energies at a time."""
    num_energies, height, width = shape
    energies, rng = nickel_energies(num_energies), np.random.default_rng(0)
    with h5py.File(file, "w") as h5:
        stack = h5.create_dataset("stack", shape, np.float32)
        for start in range(0, num_energies, WRITTEN):
            part = slice(start, start + WRITTEN)
            truth = xanes_stack((height, width), energies=energies[part]).truth
            noise = rng.standard_normal(truth.shape, np.float32)
            stack[part] = truth + NOISE * noise


def stream(request: Record) -> Record:
    """Denoise the stack in a file, with little memory."""
    with h5py.File(request["file"]) as h5:
        found = []
        spent = seconds(
            lambda: found.append(
                fit_components(h5["stack"], memory=request["budget"]),
            )
        )
    return {
        "rank": found[0].rank,
        "seconds": spent,
        "most memory, GiB": memory("VmHWM") / 2**30,
    }


def _denoise(y: Stack, rank: int) -> int:
    return denoise_stack(y).rank


def _fit(y: Stack, rank: int) -> int:
    return fit_components(y, memory=2**27).rank


def _each_component(y: Stack, rank: int, plug_in: Callable) -> int:
    denoise_components(decompose(y, rank), plug_in, SIGMA).stack(rank)
    return rank


def _each_by_tv(y: Stack, rank: int) -> int:
    return _each_component(y, rank, tv)


def _each_by_bm3d(y: Stack, rank: int) -> int:
    return _each_component(y, rank, PLUG_INS["BM3D"])


def _median(y: Stack, rank: int) -> int:
    median(y)
    return rank


# tvjax first: the others are given the rank that it chose.
TIMED: dict[str, Callable[[Stack, int], int]] = {
    "tvjax": _denoise,
    "tvjax, components only": _fit,
    "Gram-SVD + scikit-image TV a component": _each_by_tv,
    "Gram-SVD + BM3D a component": _each_by_bm3d,
    "3-D median": _median,
}


def respond(request: Record) -> Record:
    """Time one method in a process of its own."""
    if request["task"] == "streamed":
        return stream(request)
    before = memory("VmRSS")
    y, rank = np.load(request["file"]), request["rank"]
    task = TIMED[request["task"]]
    found = []
    first = seconds(lambda: found.append(task(y, rank)))
    again = (
        seconds(lambda: task(y, rank)) if request["task"].startswith("tvjax") else first
    )
    return {
        "rank": int(found[0]),
        "seconds": again,
        "seconds, first call": first,
        "peak memory over the stack's": (memory("VmHWM") - before) / y.nbytes,
    }


def memory(field: str) -> int:
    """Bytes in use now (VmRSS) or at most so far (VmHWM), as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(field)]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    answer(Path(sys.argv[2]), respond)
