"""HDF5 files as detectors write them, made without tvjax."""

import h5py
import hdf5plugin
import numpy as np

MASKED = np.uint32(2**32 - 1)


def write_master(path, counts, *, frames_per_file=3):
    """Write what the file writer of a detector writes; links as in NeXus."""
    total, *shape = counts.shape
    stem = path.stem.removesuffix("_master")
    with h5py.File(path, "w") as file:
        entry = group(file, "entry", "NXentry")
        images = group(entry, "data", "NXdata")
        for number, first in enumerate(range(0, total, frames_per_file), 1):
            part = counts[first : first + frames_per_file]
            data_file = path.with_name(f"{stem}_data_{number:06d}.h5")
            write_data_file(data_file, part, first)
            images[f"data_{number:06d}"] = h5py.ExternalLink(
                data_file.name, "/entry/data/data"
            )
        detector = group(
            group(entry, "instrument", "NXinstrument"), "detector", "NXdetector"
        )
        detector["description"] = "Dectris EIGER2 Test"
        detector["bit_depth_image"] = np.uint8(32)
        detector["bit_depth_readout"] = np.uint8(16)
        detector["count_time"] = 0.1
        detector["count_time"].attrs["units"] = "s"
        detector["x_pixel_size"] = 7.5e-5
        detector["x_pixel_size"].attrs["units"] = "m"
        detector["saturation_value"] = np.uint16(50_000)
        mask = np.zeros(shape, np.uint32)
        mask[9:11] = 1
        mask[2, 3] = 1 << 4
        specific = group(detector, "detectorSpecific", "NXcollection")
        specific["pixel_mask"] = mask
        specific["flatfield"] = np.ones(shape, np.float32)
        specific["nimages"] = np.uint32(total)
        specific["ntrigger"] = np.uint32(1)
        specific["countrate_correction_count_cutoff"] = np.uint32(45_000)
        detector["pixel_mask"] = h5py.SoftLink("detectorSpecific/pixel_mask")
        goniometer = group(
            group(entry, "sample", "NXsample"), "goniometer", "NXgoniometer"
        )
        goniometer["omega"] = 0.5 * np.arange(total)
        goniometer["omega"].attrs["units"] = "degree"
        goniometer["omega_range_total"] = 0.5 * total
        axes = group(entry["sample"], "transformations", "NXtransformations")
        axes["omega"] = goniometer["omega"]  # the same object under two names
        with h5py.File(path.with_name("notes.h5"), "w") as notes:
            notes["title"] = "a crystal"
        entry["title"] = h5py.ExternalLink("notes.h5", "/title")
    return path


def write_data_file(path, counts, first=0):
    with h5py.File(path, "w") as file:
        entry = group(file, "entry", "NXentry")
        images = group(entry, "data", "NXdata").create_dataset(
            "data",
            data=counts,
            chunks=(1, *counts.shape[1:]),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        images.attrs["image_nr_low"] = np.uint64(first + 1)
        images.attrs["image_nr_high"] = np.uint64(first + len(counts))
    return path


def group(parent, name, kind):
    child = parent.create_group(name)
    child.attrs["NX_class"] = np.bytes_(kind)
    return child


def numbers(number, first=1):
    """Frames that are told apart by their value."""
    return np.stack([np.full((8, 9), first + i, np.uint32) for i in range(number)])
