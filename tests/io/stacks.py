"""Stacks as microscopes write them, made without tvjax."""

import h5py
import numpy as np
import tifffile

ENERGIES = np.array([700.0, 701.5, 702.0, 702.5, 704.0])


def frames():
    rng = np.random.default_rng(0)
    return rng.normal(5, 1, (5, 12, 17)).astype(np.float32)


def write_nxstxm(path, data, axes="EYX", *, energies=ENERGIES, unit="eV"):
    """Two counters and a monitor, of which one is the signal, as in NXstxm."""
    names = {"E": "energy", "Y": "sample_y", "X": "sample_x"}
    order = ["EYX".index(axis) for axis in axes]
    with h5py.File(path, "w") as file:
        entry = group(file, "entry1", "NXentry")
        entry["definition"] = "NXstxm"
        entry["title"] = "a particle"
        for name, kind in (("counter0", "NXdata"), ("control", "NXmonitor")):
            part = group(entry, name, kind)
            part.attrs["signal"] = "data"
            part.attrs["axes"] = np.array([names[axis] for axis in axes], "S8")
            part["data"] = data.transpose(order)
            part["data"].attrs["units"] = " "
            part["energy"] = energies
            part["energy"].attrs["units"] = unit
        entry["copy"] = h5py.SoftLink("/entry1/counter0/data")
    return path


def write_plain(path, data, *, energies=ENERGIES, name="energy_eV"):
    with h5py.File(path, "w") as file:
        file["stack"] = data
        file["i0"] = np.ones((len(data), 2))
        if energies is not None:
            file[name] = energies
    return path


def write_tiff(path, data):
    tifffile.imwrite(path, data, photometric="minisblack", metadata=None)
    return path


def write_numbered(folder, data):
    for number, frame in enumerate(data, 1):
        write_tiff(folder / f"frame_{number:03d}.tif", frame)
    return folder / "frame_###.tif"


def group(parent, name, kind):
    made = parent.create_group(name)
    made.attrs["NX_class"] = kind
    return made
