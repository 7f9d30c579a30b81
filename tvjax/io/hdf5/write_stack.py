"""Stacks and maps written to new HDF5 files."""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Num

from tvjax.io.encoding import Encoding
from tvjax.io.hdf5.chunks import ImageWriter
from tvjax.io.hdf5.read import DENOISED_BY
from tvjax.io.hdf5.slots import create_images, Slot
from tvjax.io.hdf5.write_frames import nexus_group, write_process
from tvjax.io.provenance import Provenance
from tvjax.io.series import Frame
from tvjax.io.stack import Stack
from tvjax.io.staging import OutputFile, Staging

# Path of the frames in a new file, as NeXus has it.
_NAME = "/entry/data/data"


class StackSink:
    """Writes the frames of a stack to a new file, with their energies.

    Attributes:
        slots: Where the frames go.
    """

    def __init__(
        self,
        staging: Staging,
        path: Path,
        like: Stack,
        encoding: Encoding,
        program: str | None,
    ) -> None:
        """Start the file; `program` is who denoises, None if nobody does."""
        num_energies, height, width = like.shape
        slot = Slot(_NAME, _NAME, num_energies, None, None)
        self.slots = (slot,)
        self._written = 0
        self._file = h5py.File(staging.open(path), "w")
        try:
            data = _start(self._file, like)
            images = create_images(data, "data", slot, (height, width), encoding)
            if like.unit:
                images.attrs["units"] = like.unit
            if program is not None:
                images.attrs[DENOISED_BY] = program
            self._writer = ImageWriter(images)
        except BaseException:
            self._file.close()
            raise

    def append(self, stored: Num[np.ndarray, "height width"], frame: Frame) -> None:
        """Write the next frame."""
        self._writer.write(self._written, stored)
        self._written += 1

    def finish(self, provenance: Provenance | None) -> None:
        """Write what is known only at the end."""
        if provenance is not None:
            write_process(self._file, _NAME, provenance)

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()


def write_maps(
    file: OutputFile,
    maps: dict[str, Num[np.ndarray, "*reference height width"]],
    *,
    units: dict[str, str],
    names: tuple[str, ...],
    provenance: Provenance,
) -> None:
    """Write maps of one scene, each an NXdata group that a viewer opens by itself.

    Args:
        file: The file to fill.
        maps: Images by name, or one image a reference; NaN where invalid.
        units: The units by the names of the maps, of those that have one.
        names: The names of the references.
        provenance: How the maps came about.
    """
    with h5py.File(file, "w") as master:
        entry = nexus_group(master, "entry", "NXentry")
        master.attrs["default"] = "entry"
        entry.attrs["default"] = next(iter(maps))
        for name, values in maps.items():
            group = nexus_group(entry, name, "NXdata")
            group.attrs["signal"] = "data"
            axes = ["reference", "y", "x"][-values.ndim :]
            group.attrs.create("axes", axes, dtype=h5py.string_dtype())
            group["data"] = values
            if units.get(name):
                group["data"].attrs["units"] = units[name]
            if values.ndim == 3:
                group.create_dataset("reference", data=names, dtype=h5py.string_dtype())
        write_process(master, f"/entry/{next(iter(maps))}", provenance)


def _start(file: h5py.File, like: Stack) -> h5py.Group:
    """Write all but the frames, and return the group that they go to."""
    file.attrs["default"] = "entry"
    entry = nexus_group(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    data = nexus_group(entry, "data", "NXdata")
    data.attrs["signal"] = "data"
    data.attrs.create("axes", ["energy", "y", "x"], dtype=h5py.string_dtype())
    if like.energies is not None:
        data["energy"] = like.energies
        data["energy"].attrs["units"] = "eV"
    return data
