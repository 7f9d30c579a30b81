"""Frames written to HDF5, in the layout of the input or as a new NXmx master."""

import json
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Float, Num

from tvjax.io.dectris_header import start_angle
from tvjax.io.encoding import Encoding
from tvjax.io.hdf5.chunks import ImageWriter
from tvjax.io.hdf5.clone import Clone, clone_of
from tvjax.io.hdf5.declared import FILLS
from tvjax.io.hdf5.layout import FRAMES_FIRST, Layout
from tvjax.io.hdf5.prefixes import check_prefixes, Reference
from tvjax.io.hdf5.read import DENOISED_BY
from tvjax.io.hdf5.slots import create_images, plan, prefix, Slot
from tvjax.io.hdf5.tree import (
    address,
    dataset_at,
    find_dataset,
    find_item,
    join,
    names_in,
    path_of,
    text_attribute,
)
from tvjax.io.provenance import PROGRAM, Provenance
from tvjax.io.series import Frame, Metadata, Selection, Series
from tvjax.io.staging import Staging

# What the tables of formats know this one by, and what it can hold.
NAME = "HDF5"
SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs")
DTYPES = ("uint32", "int32", "float32")
KEEPS_PROVENANCE = True

# Where a new master keeps the angle of each frame.
OMEGA = "/entry/sample/transformations/omega"

# Frames in one data file of a new master, as detectors have it.
FRAMES_PER_FILE = 1000


def output_files(path: Path, like: Series, selection: Selection) -> list[Path]:
    """Return the files that writing the selected frames to `path` creates."""
    slots = _slots(path, like, selection)
    return [path, *dict.fromkeys(s.data_file for s in slots if s.data_file)]


def create_sink(
    staging: Staging,
    files: list[Path],
    like: Series,
    selection: Selection,
    encoding: Encoding,
    program: str | None,
) -> "Hdf5Sink":
    """Start to write a master, the first of `files`, and what it links to."""
    return Hdf5Sink(staging, files[0], like, selection, encoding, program)


class Hdf5Sink:
    """Writes encoded frames to a master and its data files, in order."""

    def __init__(
        self,
        staging: Staging,
        output: Path,
        like: Series,
        selection: Selection,
        encoding: Encoding,
        program: str | None,
        unit: str = "",
    ) -> None:
        """Start the master.

        Args:
            staging: Where files are opened.
            output: The master.
            like: The input.
            selection: The frames of it.
            encoding: How values are stored.
            program: Program that denoises, None if nobody does.
            unit: Unit of the values, where it is not the input's.
        """
        self._staging = staging
        self._like = like
        self._selection = selection
        self._encoding = encoding
        self._program = program
        self._unit = unit
        self._slots = _slots(output, like, selection)
        self._never_valid: Bool[np.ndarray, "height width"] = np.ones(like.shape, bool)
        self._angles: list[float | None] = []
        self._written = 0
        self._writer: ImageWriter | None = None  # of the slot that is being filled
        self._clone: Clone | None = None
        self._data_files: dict[Path, h5py.File] = {}
        self._master = h5py.File(staging.open(output), "w")
        try:
            if like.layout is None:
                _new_master(self._master, self._slots, like, selection, encoding)
            else:
                self._clone = clone_of(
                    like.layout, output, self._slots, selection, like.shape, encoding
                )
                self._clone.copy(self._master)
        except BaseException:
            self._master.close()
            raise

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Where the frames go, in their order."""
        return self._slots

    def append(self, stored: Num[np.ndarray, "height width"], frame: Frame) -> None:
        """Write the next frame."""
        slot, index = self._next_place()
        if index == 0:
            images = dataset_at(self._holder(slot), slot.place)
            axes = slot.like.axes if slot.like else FRAMES_FIRST
            self._writer = ImageWriter(images, axes)
        assert self._writer is not None
        self._writer.write(index, stored)
        self._never_valid &= ~frame.mask
        self._angles.append(start_angle(self._like, frame))
        self._written += 1

    def finish(self, provenance: Provenance | None) -> None:
        """Write what is known only at the end."""
        self._close_data_files(())
        if self._like.layout is None:
            mask = dataset_at(self._master, "entry/instrument/detector/pixel_mask")
            mask[...] = self._never_valid
            omega = find_dataset(self._master, OMEGA)
            if omega is not None:
                omega[...] = np.array(self._angles, float)
        layout = self._like.layout
        source = None if layout is None else layout.file
        _publish_scale(self._master, self._encoding.scale, source, layout)
        if provenance is not None:
            write_process(self._master, self._slots[0].name, provenance)
        for slot in self._slots:
            if slot.data_file is None:
                self._sign(dataset_at(self._master, slot.place))

    def close(self) -> None:
        """Close the HDF5 files, complete or not."""
        self._close_data_files(())
        self._master.close()

    def _next_place(self) -> tuple[Slot, int]:
        """Return the slot of the next frame and its position there."""
        index = self._written
        for slot in self._slots:
            if index < slot.num_frames:
                return slot, index
            index -= slot.num_frames
        raise ValueError(f"only {self._selection.num_frames} frames were announced")

    def _holder(self, slot: Slot) -> h5py.File:
        """Return the file of a slot, starting it where it is a new data file."""
        if slot.data_file is None:
            return self._master
        if slot.data_file not in self._data_files:
            self._close_data_files(self._slots[self._slots.index(slot) :])
            file = h5py.File(self._staging.open(slot.data_file), "w")
            self._data_files[slot.data_file] = file
            slots = tuple(s for s in self._slots if s.data_file == slot.data_file)
            if slot.like and self._clone:
                source = slot.like.images.file
                self._clone.of(source, slot.data_file).copy(file)
                # a detector that the master only links to
                layout = self._like.layout
                _publish_scale(file, self._encoding.scale, source, layout)
            else:
                _new_data_file(file, slot, self._like.shape, self._encoding)
            for each in slots:
                images = dataset_at(file, each.place)
                self._number(images, each)
                self._sign(images)
        return self._data_files[slot.data_file]

    def _close_data_files(self, needed: tuple[Slot, ...]) -> None:
        """Close the data files but those of slots that are still to be filled."""
        kept = {slot.data_file for slot in needed}
        for path in [path for path in self._data_files if path not in kept]:
            self._data_files.pop(path).close()

    def _number(self, images: h5py.Dataset, slot: Slot) -> None:
        """Number the images of a slot from 1 on, as detectors do."""
        first = sum(s.num_frames for s in self._slots[: self._slots.index(slot)])
        images.attrs["image_nr_low"] = np.uint64(first + 1)
        images.attrs["image_nr_high"] = np.uint64(first + slot.num_frames)

    def _sign(self, images: h5py.Dataset) -> None:
        """Say on the images themselves what happened, as a data file may go alone."""
        for name in {*FILLS} & {*images.attrs}:
            # what filled the input can be a reading at the scale of the output
            images.attrs[name] = np.asarray(self._encoding.mark, images.dtype)
        if self._encoding.scale != 1:
            images.attrs["data_scale_factor"] = 1 / self._encoding.scale
        if self._program is not None:
            images.attrs[DENOISED_BY] = self._program
        if self._unit:
            images.attrs["units"] = self._unit


def _slots(output: Path, like: Series, selection: Selection) -> tuple[Slot, ...]:
    if like.layout is not None:
        return plan(like.layout, output, selection)
    if not output.stem.endswith("_master"):
        name = "/entry/data/data_000001"
        return (Slot(name, name, selection.num_frames, None, None),)
    return tuple(
        Slot(
            f"/entry/data/data_{number:06d}",
            "/entry/data/data",
            min(FRAMES_PER_FILE, selection.num_frames - first),
            output.with_name(f"{prefix(output)}_data_{number:06d}{output.suffix}"),
            None,
        )
        for number, first in enumerate(
            range(0, selection.num_frames, FRAMES_PER_FILE), 1
        )
    )


def _new_data_file(
    file: h5py.File, slot: Slot, shape: tuple[int, int], encoding: Encoding
) -> None:
    entry = nexus_group(file, "entry", "NXentry")
    create_images(nexus_group(entry, "data", "NXdata"), "data", slot, shape, encoding)


def _new_master(
    file: h5py.File,
    slots: tuple[Slot, ...],
    like: Series,
    selection: Selection,
    encoding: Encoding,
) -> None:
    """Write an NXmx master for frames that come from another format."""
    known = like.metadata
    file.attrs["default"] = "entry"
    entry = nexus_group(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    entry["definition"] = "NXmx"
    data = nexus_group(entry, "data", "NXdata")
    data.attrs["signal"] = slots[0].name.rpartition("/")[2]
    for slot in slots:
        name = slot.name.rpartition("/")[2]
        if slot.data_file is None:
            create_images(data, name, slot, like.shape, encoding)
        else:
            here = slot.data_file.name
            check_prefixes(slot.data_file, here, slot.data_file, Reference.LINK)
            data[name] = h5py.ExternalLink(here, slot.place)
    instrument = nexus_group(entry, "instrument", "NXinstrument")
    beam = nexus_group(instrument, "beam", "NXbeam")
    _write(beam, "incident_wavelength", known.wavelength, "angstrom")
    detector = nexus_group(instrument, "detector", "NXdetector")
    detector["description"] = known.detector or "unknown"
    detector["bit_depth_image"] = np.uint32(8 * encoding.dtype.itemsize)
    detector["bit_depth_readout"] = np.uint32(8 * encoding.dtype.itemsize)
    mask = detector.create_dataset("pixel_mask", like.shape, np.uint32)
    if known.sensor_material:
        detector["sensor_material"] = known.sensor_material
    _write(detector, "sensor_thickness", known.sensor_thickness, "m")
    _write(detector, "count_time", known.exposure, "s")
    _write(detector, "frame_time", known.exposure, "s")
    _write(detector, "detector_distance", known.distance, "m")
    for axis, name in enumerate("yx"):
        if known.pixel_size:
            _write(detector, f"{name}_pixel_size", known.pixel_size[axis], "m")
        if known.beam_centre:
            _write(detector, f"beam_center_{name}", known.beam_centre[axis], "pixel")
    if known.saturation is not None:
        detector["saturation_value"] = np.uint32(encoding.limit(known.saturation))
    specific = nexus_group(detector, "detectorSpecific", "NXcollection")
    specific["nimages"] = np.uint32(selection.num_frames)
    specific["ntrigger"] = np.uint32(1)
    specific["pixel_mask"] = mask
    for axis, size in zip("yx", like.shape, strict=True):
        specific[f"{axis}_pixels_in_detector"] = np.uint32(size)
    if known.saturation is not None:
        specific["countrate_correction_count_cutoff"] = detector["saturation_value"]
    sample = nexus_group(entry, "sample", "NXsample")
    if known.start_angle is not None:
        step = known.angle_increment or 0.0
        angles = np.zeros(selection.num_frames)  # each frame tells its own
        _write_rotation(sample, angles, step)
    _write_geometry(detector, known, like.shape)


def _write_rotation(
    sample: h5py.Group, angles: Float[np.ndarray, " frame"], step: float
) -> None:
    """Write the angle at which each frame starts, about the axis x."""
    axes = nexus_group(sample, "transformations", "NXtransformations")
    _axis(axes, "omega", angles, "rotation", (1, 0, 0), ".")
    sample["depends_on"] = join(path_of(axes), "omega")
    goniometer = nexus_group(sample, "goniometer", "NXgoniometer")
    goniometer["omega"] = axes["omega"]
    _write(goniometer, "omega_range_average", step, "degree")


def _write_geometry(
    detector: h5py.Group, known: Metadata, shape: tuple[int, int]
) -> None:
    """Write where the pixels are, if known: McStas axes, z along the beam and y up."""
    if not (known.distance and known.pixel_size and known.beam_centre):
        return
    axes = nexus_group(detector, "transformations", "NXtransformations")
    arm = ("rotation", (-1, 0, 0), ".")
    _axis(axes, "two_theta", known.two_theta or 0.0, *arm)
    along = ("translation", (0, 0, 1), join(path_of(axes), "two_theta"))
    _axis(axes, "translation", known.distance, *along)
    detector["depends_on"] = join(path_of(axes), "translation")
    module = nexus_group(detector, "module", "NXdetector_module")
    module["data_origin"] = np.zeros(2, np.int32)
    module["data_size"] = np.asarray(shape, np.int32)
    height, width = known.pixel_size
    row, column = known.beam_centre
    corner = (column * width, row * height, 0.0)
    for name, size, vector in (
        ("fast_pixel_direction", width, (-1, 0, 0)),
        ("slow_pixel_direction", height, (0, -1, 0)),
        ("module_offset", 0.0, (1, 0, 0)),
    ):
        parent = (
            join(path_of(axes), "translation")
            if name == "module_offset"
            else join(path_of(module), "module_offset")
        )
        _axis(module, name, size, "translation", vector, parent)
    module["module_offset"].attrs["offset"] = corner


def _axis(
    group: h5py.Group,
    name: str,
    value: float | Float[np.ndarray, " frame"],
    kind: str,
    vector: tuple[int, int, int],
    parent: str,
) -> None:
    group[name] = np.asarray(value, float)
    group[name].attrs.update(
        transformation_type=kind,
        units="degree" if kind == "rotation" else "m",
        vector=np.asarray(vector, float),
        offset=np.zeros(3),
        depends_on=parent,
    )


def nexus_group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    """Return a new group of the NeXus class `kind`."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def _write(group: h5py.Group, name: str, value: float | None, units: str) -> None:
    if value is not None:
        group[name] = float(value)
        group[name].attrs["units"] = units


def _publish_scale(
    file: h5py.File, scale: int, source: h5py.File | None, layout: Layout | None
) -> None:
    """Tell readers by how much to multiply what is stored to get counts.

    The factor stands with the detector, under the name that readers use and the one
    that NeXus documents. Beside the images, fabio and dxtbx would count it as a frame.

    Args:
        file: A file of the output.
        scale: Stored value of one count.
        source: The file that it is a copy of, if any.
        layout: Where the input keeps its frames.
    """
    detectors: list[h5py.Group] = []

    def note(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            if text_attribute(item, "NX_class") == "NXdetector":
                detectors.append(item)

    if scale == 1:
        return
    file.visititems(note)  # which does not follow links to the raw files
    if source is not None and layout is not None:
        olds = [find_item(source, path_of(item)) for item in detectors]
        places = [None if old is None else address(old) for old in olds]
        both = list(zip(detectors, places, strict=True))
        own = [item for item, place in both if place in layout.owners]
        detectors = own or [item for item, place in both if place not in layout.apart]
    for detector in detectors[:1]:
        for name in ("data_scale_factor", "data_scaling_factor"):
            if name not in detector:
                detector[name] = 1 / scale


def write_process(master: h5py.File, images: str, provenance: Provenance) -> None:
    """Write the provenance as an NXprocess group of the entry that has the images."""
    own = images.split("/")[1]
    entry: h5py.Group = master
    # A link leads to a file that has no name yet.
    if isinstance(master.get(own, getlink=True), h5py.HardLink):
        found = master[own]
        entry = found if isinstance(found, h5py.Group) else master
    earlier = [name for name in names_in(entry) if name.startswith(PROGRAM)]
    name = f"{PROGRAM}_{len(earlier) + 1}" if earlier else PROGRAM
    process = nexus_group(entry, name, "NXprocess")
    process["sequence_index"] = len(earlier) + 1
    for key, value in json.loads(provenance.as_json()).items():
        if isinstance(value, dict):
            process[key] = json.dumps(value)
        elif value and isinstance(value, list) and isinstance(value[0], str):
            process.create_dataset(key, data=value, dtype=h5py.string_dtype())
        else:
            process[key] = value
