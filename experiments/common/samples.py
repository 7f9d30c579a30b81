"""Small valid files of every kind that tvjax reads, and what it does with them."""

import functools
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import equinox as eqx
import fabio
import h5py
import hdf5plugin
import jax
import numpy as np
import tifffile

from tvjax import io, pipeline
from tvjax.denoisers import Network
from tvjax.denoisers.network import FORMAT, load_network
from tvjax.networks.weights_file import write_weights
from tvjax.pipeline import inspection
from tvjax.settings import Settings, StackSettings

SHAPE = (24, 20)
ENERGIES = np.linspace(7100.0, 7150.0, 6)


class Sample(NamedTuple):
    """Files of one kind, and the uses that may meet their damage."""

    files: tuple[Path, ...]  # that may be damaged
    uses: tuple[Callable[[], object], ...]


def make(kind: str, folder: Path) -> Sample:
    """Write the files of a kind to a folder."""
    return KINDS[kind](folder)


def _counts(number: int = 6, dtype: str = "u4") -> np.ndarray:
    counts = np.random.default_rng(0).poisson(5, (number, *SHAPE))
    return counts.astype(dtype)


def _group(parent: h5py.Group, name: str, kind: str, **attributes: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update(NX_class=kind, **attributes)
    return group


class Untouched(NamedTuple):
    """Frames as they came, in the place of denoised ones: the files are in question."""

    image: np.ndarray
    alpha: np.ndarray
    relative_gap: np.ndarray
    converged: np.ndarray
    protection: None = None
    warnings: tuple[str, ...] = ()
    alpha_error: None = None
    at_bound: np.ndarray = np.array(False)
    curve: None = None


def untouched(y: np.ndarray, **_: object) -> Untouched:
    """Return frames as they came."""
    nothing = np.zeros(len(y))
    return Untouched(y.astype(np.float32), np.array(0.1), nothing, nothing == 0)


def _inspect(path: Path, settings: StackSettings) -> None:
    """Tell what is in a file, but for its noise, of which any frame has some."""
    with mock.patch.object(inspection, "diagnose_noise", side_effect=ValueError):
        inspection.inspect_files(str(path), settings)


def _frames(output: str, *files: Path, **settings: str) -> Sample:
    """Frames are looked at, and denoised."""
    first = files[0]

    def denoise() -> None:
        pipeline.denoise_files(
            str(first),
            first.parent / "clean" / output,
            Settings(noise="poisson:1", **settings),
            denoise=untouched,
        )

    inspect = functools.partial(_inspect, first, StackSettings(**settings))
    return Sample(files, (inspect, denoise))


def _stack(*files: Path, **settings: str) -> Sample:
    """A stack is looked at, read and written."""
    first = files[0]
    chosen = StackSettings(**settings)

    def read() -> None:
        with io.open_stack(
            str(first), axes=chosen.axes, energies=chosen.energies
        ) as stack:
            lights = io.find_flats(stack)
            for name in (chosen.flat, *lights.values()):
                if name is not None:
                    flats = io.read_flats(name, stack)
                    flats.cut(slice(0, 2), slice(0, 3))
                    flats.close()
            io.save_stack(first.parent / "clean" / "stack.h5", stack)

    return Sample(files, (functools.partial(_inspect, first, chosen), read))


def _master(folder: Path) -> Sample:
    """A DECTRIS master with two data files."""
    counts = _counts()
    path = folder / "scan_master.h5"
    parts = [folder / f"scan_data_{n:06d}.h5" for n in (1, 2)]
    with h5py.File(path, "w") as file:
        entry = _group(file, "entry", "NXentry")
        data = _group(entry, "data", "NXdata", signal="data_000001")
        for number, part in enumerate(parts, 1):
            data[f"data_{number:06d}"] = h5py.ExternalLink(
                part.name, "/entry/data/data"
            )
        detector = _group(
            _group(entry, "instrument", "NXinstrument"), "detector", "NXdetector"
        )
        detector["description"] = "Dectris EIGER2 Test"
        detector["bit_depth_image"] = np.uint8(32)
        detector["count_time"] = 0.1
        for axis in "xy":
            detector[f"{axis}_pixel_size"] = 7.5e-5
            detector[f"{axis}_pixel_size"].attrs["units"] = "m"
            detector[f"beam_center_{axis}"] = 10.0
        detector["saturation_value"] = np.uint16(50_000)
        specific = _group(detector, "detectorSpecific", "NXcollection")
        mask = np.zeros(SHAPE, np.uint32)
        mask[9] = 1
        specific.create_dataset("pixel_mask", data=mask, **hdf5plugin.LZ4())
        specific["nimages"] = np.uint32(len(counts))
        detector["pixel_mask"] = h5py.SoftLink("detectorSpecific/pixel_mask")
        sample = _group(entry, "sample", "NXsample")
        axes = _group(sample, "transformations", "NXtransformations")
        axes["omega"] = 0.5 * np.arange(len(counts))
        axes["omega"].attrs["vector"] = (1.0, 0.0, 0.0)
        sample["depends_on"] = "/entry/sample/transformations/omega"
    for part, images in zip(parts, (counts[:3], counts[3:]), strict=True):
        with h5py.File(part, "w") as file:
            data = _group(_group(file, "entry", "NXentry"), "data", "NXdata")
            filters = hdf5plugin.Bitshuffle(cname="lz4")
            chunks = (1, *SHAPE)
            data.create_dataset("data", data=images, chunks=chunks, **filters)
            data["data"].attrs["image_nr_low"] = np.uint64(1)
    return _frames("scan_master.h5", path, *parts)


def _virtual(folder: Path) -> Sample:
    """A virtual dataset of two files, with masks of each frame and references."""
    counts = _counts()
    path = folder / "scan.nxs"
    parts = [folder / f"part_{n}.h5" for n in (1, 2)]
    layout = h5py.VirtualLayout(counts.shape, counts.dtype)
    for number, part in enumerate(parts):
        with h5py.File(part, "w") as file:
            images = counts[3 * number : 3 * number + 3]
            file.create_dataset(
                "frames", data=images, chunks=(1, *SHAPE), compression="gzip"
            )
        layout[3 * number : 3 * number + 3] = h5py.VirtualSource(
            part.name, "frames", (3, *SHAPE)
        )
    with h5py.File(path, "w", libver="latest") as file:
        entry = _group(file, "entry", "NXentry", default="data")
        data = _group(entry, "data", "NXdata", signal="data", axes="angle")
        data.create_virtual_dataset("data", layout)
        data["data"].attrs["_FillValue"] = np.uint32(2**32 - 1)
        data["angle"] = np.arange(6.0)
        data["angle"].make_scale("angle")
        data["data"].dims[0].attach_scale(data["angle"])
        data.create_dataset("data_mask", data=np.zeros(counts.shape, bool))
        table = np.zeros(6, [("time", "f8"), ("name", "S8")])
        data.create_dataset("log", data=table, chunks=(3,), shuffle=True)
        data["where"] = np.array([data["angle"].ref] * 2, h5py.ref_dtype)
        detector = _group(entry, "detector", "NXdetector")
        detector["data"] = h5py.SoftLink("/entry/data/data")
        detector["underload_value"] = np.int32(0)
        entry["wavelength"] = 1.0
        entry["title"] = "a crystal"
    return _frames("scan.nxs", path, *parts)


def _stack_hdf5(folder: Path) -> Sample:
    """An energy stack with flats, darks and dimension scales."""
    path = folder / "stack.h5"
    counts = _counts(len(ENERGIES), "u2")
    with h5py.File(path, "w") as file:
        entry = _group(file, "entry", "NXentry")
        data = _group(entry, "counter", "NXdata", signal="data")
        data.attrs["axes"] = ["energy", "sample_y", "sample_x"]
        filters = hdf5plugin.Zstd()
        data.create_dataset("data", data=counts, chunks=(2, 12, 20), **filters)
        data["energy"] = ENERGIES
        data["energy"].attrs["units"] = "eV"
        data["flat"] = np.full(SHAPE, 1000, np.uint16)
        data.create_dataset("dark", data=np.zeros(SHAPE), **hdf5plugin.Blosc())
    return _stack(path)


def _stack_tiff(folder: Path) -> Sample:
    """Pages of a TIFF with a table of energies and an I0."""
    path, table, light = folder / "stack.tif", folder / "e.csv", folder / "i0.xdi"
    tifffile.imwrite(path, _counts(6, "u2"), photometric="minisblack")
    table.write_text("".join(f"{e:.2f}\n" for e in ENERGIES))
    lines = [f"{e:.2f} {1000 + n}" for n, e in enumerate(ENERGIES)]
    light.write_text("# XDI/1.0\n# Column.1: energy eV\n" + "\n".join(lines) + "\n")
    return _stack(path, table, light, energies=str(table), flat=str(light))


def _series(folder: Path, name: str, number: int, *, packed: bool = False) -> Sample:
    """Frames as tvjax writes them, perhaps compressed as a whole."""
    metadata = io.Metadata(
        detector="PILATUS 100K",
        wavelength=1.0,
        distance=0.2,
        exposure=0.1,
        pixel_size=(172e-6, 172e-6),
        beam_centre=(10.0, 12.0),
        start_angle=0.0,
        angle_increment=0.1,
        saturation=1e6,
    )
    series = io.series_of(_counts(number, "i4"), metadata=metadata)
    path = folder / name
    io.save_series(path, series)
    if packed:
        path = folder / f"{name}.gz"
        path.write_bytes(gzip.compress((folder / name).read_bytes()))
    return _frames(name, path)


def _cbf(folder: Path) -> Sample:
    return _series(folder, "scan.cbf", 1)


def _cbf_packed(folder: Path) -> Sample:
    return _series(folder, "scan.cbf", 1, packed=True)


def _nxmx(folder: Path) -> Sample:
    return _series(folder, "scan.h5", 6)


def _tiff(folder: Path) -> Sample:
    """Pages with the description of ImageJ or tifffile, plain or compressed."""
    path = folder / "scan.tif"
    tifffile.imwrite(path, _counts(3, "u2"), imagej=True)
    return _frames("scan.tif", path)


def _tiff_packed(folder: Path) -> Sample:
    path = folder / "scan.tif"
    counts = _counts(2)
    tifffile.imwrite(path, counts, compression="zlib", photometric="minisblack")
    packed = folder / "scan.tif.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return _frames("scan.tif", packed, path)


def _edf(folder: Path) -> Sample:
    path = folder / "scan.edf"
    header = {"Dummy": "-1", "DDummy": "0.1", "WaveLength": "1e-10"}
    image = fabio.edfimage.EdfImage(data=_counts(1, "i4")[0], header=header)
    image.appendFrame(data=_counts(2, "i4")[1])
    image.write(str(path))
    return _frames("scan.tif", path)


def _smv(folder: Path) -> Sample:
    path = folder / "scan.img"
    fields = {
        **{"HEADER_BYTES": 512, "DIM": 2, "BYTE_ORDER": "little_endian"},
        **{"TYPE": "unsigned_short", "SIZE1": SHAPE[1], "SIZE2": SHAPE[0]},
        **{"PIXEL_SIZE": 0.1, "WAVELENGTH": 1.0, "DISTANCE": 200.0, "TIME": 0.5},
        **{"OSC_START": 0.0, "OSC_RANGE": 0.5, "CCD_IMAGE_SATURATION": 65535},
    }
    text = "{\n" + "".join(f"{k}={v};\n" for k, v in fields.items()) + "}\n"
    path.write_bytes(text.encode().ljust(512) + _counts(1, "<u2").tobytes())
    return _frames("scan.tif", path)


def _dtrek(folder: Path) -> Sample:
    """d*TREK, a format of Rigaku."""
    path = folder / "scan.img"
    fabio.dtrekimage.DtrekImage(data=_counts(1, "i4")[0]).write(str(path))
    return _frames("scan.tif", path)


def _bruker(folder: Path) -> Sample:
    path = folder / "scan.sfrm"
    fabio.bruker100image.Bruker100Image(data=_counts(1, "i4")[0]).write(str(path))
    return _frames("scan.tif", path)


def _mask(folder: Path, name: str) -> Sample:
    """A mask that is given beside valid frames."""
    frames, path = folder / "scan.cbf", folder / name
    io.save_series(frames, io.series_of(_counts(1, "i4")))
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:5] = 1
    if path.suffix == ".npy":
        np.save(path, mask == 0)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("entry/pixel_mask", data=mask, compression="lzf")
    elif path.suffix == ".edf":
        fabio.edfimage.EdfImage(data=mask).write(str(path))
    else:
        tifffile.imwrite(path, mask, photometric="minisblack")
    uses = _frames("scan.cbf", frames, mask=str(path)).uses
    return Sample((path,), uses)


def _mask_numpy(folder: Path) -> Sample:
    return _mask(folder, "mask.npy")


def _mask_hdf5(folder: Path) -> Sample:
    return _mask(folder, "mask.h5")


def _mask_tiff(folder: Path) -> Sample:
    return _mask(folder, "mask.tif")


def _mask_edf(folder: Path) -> Sample:
    return _mask(folder, "mask.edf")


def _spectra(folder: Path) -> Sample:
    """A table of reference spectra."""
    path = folder / "reference.xdi"
    lines = [
        f"{7000 + 5 * n:.1f} {np.tanh(n - 20):.4f} {n * 0.01:.4f}" for n in range(40)
    ]
    head = "# XDI/1.0\n# Column.1: energy eV\n# Column.2: mutrans\n# Column.3: i0\n"
    path.write_text(head + "\n".join(lines) + "\n")
    return Sample((path,), (lambda: io.read_spectra(path),))


def _weights(folder: Path) -> Sample:
    """The weights of a tiny network."""
    path = folder / "network.safetensors"
    like = eqx.filter_eval_shape(lambda: Network((4, 4), (1, 1), key=jax.random.key(0)))
    weights = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), like)
    sizes = {"widths": [4, 4], "blocks": [1, 1]}
    write_weights(path, weights, version=FORMAT, sizes=sizes, facts={"made": "here"})
    return Sample((path,), (lambda: load_network(path),))


KINDS: dict[str, Callable[[Path], Sample]] = {
    **{"master": _master, "virtual": _virtual, "stack": _stack_hdf5, "nxmx": _nxmx},
    **{"cbf": _cbf, "cbf.gz": _cbf_packed, "tiff": _tiff, "tiff.gz": _tiff_packed},
    **{"edf": _edf, "smv": _smv, "dtrek": _dtrek, "tiff stack": _stack_tiff},
    **{"mask.npy": _mask_numpy, "mask.h5": _mask_hdf5, "mask.tif": _mask_tiff},
    **{"mask.edf": _mask_edf, "spectra": _spectra, "weights": _weights},
    "bruker": _bruker,
}
HDF5 = ("master", "virtual", "stack", "nxmx", "mask.h5")
