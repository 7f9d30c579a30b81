"""How fast frames are read and written, beside h5py with hdf5plugin doing the same.

The strength is zero, so that nothing is denoised: what is left is to read, to mark
invalid pixels, to scale, to compress, to write and to prove the output.
"""

import shutil
import statistics
import tempfile
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from experiments.common.measure import output_folder, parser, Report, seconds
from tvjax.pipeline import denoise_files
from tvjax.settings import Settings

# An EIGER 1M, and the frames of one of its data files.
SHAPE = (1065, 1030)
IN_ONE = 100

# Distinct frames; the others are these, moved by some rows.
DISTINCT = 8

BITSHUFFLE = hdf5plugin.Bitshuffle(cname="lz4")


def main() -> None:
    """Measure both in turn, and print the ratio of the medians."""
    options = parser(__doc__ or "")
    options.add_argument("--frames", type=int, help="of the scan (default 720)")
    options.add_argument("--rounds", type=int, default=5, help="of both in turn")
    chosen = options.parse_args()
    num_frames = chosen.frames or (24 if chosen.quick else 720)
    report = Report("Rates of reading and writing", frames=num_frames, shape=SHAPE)
    records = []
    for dtype in ("uint32", "uint16"):
        with tempfile.TemporaryDirectory() as folder:
            records.append(compare(Path(folder), dtype, num_frames, chosen.rounds))
    report.add(
        "Read and write without denoising",
        records,
        "Frames a second, medians over the rounds; the ratio is that of the medians, "
        "and that of each round at worst and at best. Before the first round both ran "
        "once. Bitshuffle and LZ4, Poisson counts of mean one.",
    )
    report.save(output_folder(chosen, __file__), "rates")


def compare(
    folder: Path, dtype: str, num_frames: int, rounds: int
) -> dict[str, str | float]:
    """Return the rates of both for one type of frames."""
    raw = folder / "raw" / "scan_master.h5"
    write_scan(raw, dtype, num_frames)
    own, plain = folder / "own", folder / "plain"

    def denoise() -> None:
        shutil.rmtree(own, ignore_errors=True)
        denoise_files(raw, own / "scan_master.h5", Settings(alpha=0.0))

    def copy() -> None:
        shutil.rmtree(plain, ignore_errors=True)
        copy_scan(raw, plain)

    denoise()
    copy()
    check_same(own / "scan_master.h5", raw)
    times = [(seconds(copy), seconds(denoise)) for _ in range(rounds)]
    plain_time, own_time = (
        statistics.median(each) for each in zip(*times, strict=True)
    )
    ratios = [copied / denoised for copied, denoised in times]
    return {
        "type": dtype,
        "h5py": num_frames / plain_time,
        "tvjax": num_frames / own_time,
        "ratio": plain_time / own_time,
        "worst": min(ratios),
        "best": max(ratios),
    }


def write_scan(master: Path, dtype: str, num_frames: int) -> None:
    """Write a scan as a DECTRIS detector does: a master with links to data files."""
    random = np.random.default_rng(0)
    frames = random.poisson(1.0, (DISTINCT, *SHAPE)).astype(dtype)
    master.parent.mkdir(parents=True)
    with h5py.File(master, "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        detector["description"] = "EIGER 1M"
        detector["bit_depth_image"] = np.uint32(8 * np.dtype(dtype).itemsize)
        detector["pixel_mask"] = np.zeros(SHAPE, np.uint32)
        for first in range(0, num_frames, IN_ONE):
            name = f"data_{first // IN_ONE + 1:06d}"
            data_file = master.with_name(f"scan_{name}.h5")
            with h5py.File(data_file, "w") as holder:
                images = create(holder, min(IN_ONE, num_frames - first), dtype)
                for index in range(len(images)):
                    moved = first + index
                    images[index] = np.roll(frames[moved % DISTINCT], moved, axis=0)
            file[f"entry/data/{name}"] = h5py.ExternalLink(
                data_file.name, "/entry/data/data"
            )


def copy_scan(master: Path, folder: Path) -> None:
    """Do with h5py and hdf5plugin what a run without denoising does."""
    folder.mkdir()
    with h5py.File(master, "r") as file:
        for name, images in file["entry/data"].items():
            with h5py.File(folder / f"scan_{name}.h5", "w") as holder:
                copied = create(holder, len(images), "uint32")
                for index in range(len(images)):
                    copied[index] = images[index]


def create(holder: h5py.File, num_frames: int, dtype: str) -> h5py.Dataset:
    """Create a dataset with a chunk a frame."""
    return holder.create_dataset(
        "entry/data/data",
        (num_frames, *SHAPE),
        dtype,
        chunks=(1, *SHAPE),
        **BITSHUFFLE,
    )


def check_same(clean: Path, raw: Path) -> None:
    """Check that the stored values are the scale times the counts, to the bit."""
    with h5py.File(clean, "r") as new, h5py.File(raw, "r") as old:
        factor = new["entry/instrument/detector/data_scale_factor"][()]
        for name, images in old["entry/data"].items():
            for index in range(len(images)):
                stored = new["entry/data"][name][index]
                assert np.array_equal(stored * factor, images[index])


if __name__ == "__main__":
    main()
