"""Does memory grow with the length of a scan, and how many frames a second pass?

    python -m experiments.tv.streaming [--quick] [--frames 2000] [--alpha 0.5]

A simulated scan of an EIGER 1M (1065 x 1030) is written as an HDF5 master with its data
files, then denoised as the command would: read, solved, certified, compressed and
written, in a process of its own. The scan is simulated frame by frame for its first
frames only, and repeats them.
"""

import dataclasses
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import tvjax
from experiments.common.measure import output_folder, parser, Record, Report, ROOT
from tvjax.io import save_series
from tvjax.pipeline import denoise_files
from tvjax.pipeline.demo import scan_series
from tvjax.settings import Settings
from tvjax.simulate import Detector, Scan

DISTINCT = 16  # frames that are simulated
LOOKS = 8  # at the memory


def write_scan(folder: Path, num_frames: int, detector: Detector) -> Path:
    """Write a scan, and return its master."""
    scan = Scan(num_frames=num_frames, detector=detector)
    frames = [scan.counts(index) for index in range(min(DISTINCT, num_frames))]

    def read(start: int, stop: int) -> Iterator[tuple[np.ndarray, str]]:
        return ((frames[index % len(frames)], "") for index in range(start, stop))

    series = scan_series(scan)
    master = folder / "raw" / "scan_master.h5"
    save_series(master, dataclasses.replace(series, read=read))
    return master


def watch(master: Path, alpha: float | None) -> list[Record]:
    """Denoise the scan, and note the memory of this process on the way."""
    output = master.parents[1] / "clean_master.h5"
    start, records = time.monotonic(), []

    def progress(done: int, total: int) -> None:
        if done % max(1, total // LOOKS) == 0:
            records.append(
                {
                    "frames": done,
                    "seconds": time.monotonic() - start,
                    "resident, MB": _resident() / 1e6,
                    "peak, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                    / 1e3,
                }
            )

    denoise_files(master, output, Settings(alpha=alpha), progress=progress)
    return records


def _resident() -> int:
    """Bytes of memory in use, as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Measure, and keep the table."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--frames", type=int, default=2000, help="default 2000")
    options.add_argument("--alpha", type=float, help="default: chosen from the data")
    options.add_argument("--worker", type=Path, help="used by the script itself")
    options = options.parse_args()
    if options.worker is not None:
        records = watch(options.worker, options.alpha)
        print(json.dumps(records))
        return

    num_frames = 16 if options.quick else options.frames
    detector = (
        Detector(num_columns=40, module_rows=30, pixel_size=1.5)
        if options.quick
        else Detector()
    )
    report = Report(
        "A long scan",
        tvjax=tvjax.__version__,
        frames=num_frames,
        alpha="chosen" if options.alpha is None else options.alpha,
        shape="x".join(map(str, detector.shape)),
        quick=options.quick,
    )
    folder = Path(tempfile.mkdtemp(prefix="tvjax_scan_"))
    try:
        master = write_scan(folder, num_frames, detector)
        worker = [sys.executable, "-m", __spec__.name, "--worker", str(master)]
        if options.alpha is not None:
            worker += ["--alpha", str(options.alpha)]
        answer = subprocess.run(
            worker, cwd=ROOT, check=True, capture_output=True, text=True
        )
    finally:
        shutil.rmtree(folder)
    records = json.loads(answer.stdout.splitlines()[-1])
    for record in records:
        record["frames a second"] = record["frames"] / record["seconds"]
    report.add("Memory on the way", records, "The first frames wait for compilation.")
    report.save(output_folder(options, __file__), "streaming")


if __name__ == "__main__":
    main()
