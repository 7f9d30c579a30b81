"""Which axis of a stack is the energy: what its file declares, and what fits."""

import re

import numpy as np

from tvjax.io.energies import axis_groups, listed_energies
from tvjax.io.errors import FileError
from tvjax.io.hdf5.layout import FRAMES_FIRST, Layout
from tvjax.io.hdf5.tree import number_attribute, NUMBERED, text, text_attribute
from tvjax.io.hdf5.unknown_types import known_attributes
from tvjax.io.tables import is_energy


def find_axes(layout: Layout, num_told: int | None) -> str:
    """Return the order of the axes of a stack, E for energies.

    The names of the axes decide, what NeXus says of their interpretation, and HyperSpy
    of navigation; else the only axis that is as long as a list of energies.

    Args:
        layout: Where the stack is.
        num_told: Number of energies that the user tells, None if that is nothing.

    Raises:
        FileError: Nothing tells, or what tells disagrees.
    """
    images = layout.datasets[0].images
    name = layout.datasets[0].name
    # Detectors write frames, in one dataset or in several.
    if len(layout.datasets) > 1 or NUMBERED.match(name.rpartition("/")[2]):
        return FRAMES_FIRST
    if len(images.shape) != len(FRAMES_FIRST) or images.shape[0] == 1:
        return FRAMES_FIRST
    names = _axis_names(layout)
    declared = _declared(layout, names)
    listed = listed_energies(layout).values()
    fitting = _fitting(images.shape, {item.shape[0] for item in listed})
    if num_told is not None:
        fitting = _fitting(images.shape, {num_told})
        if not fitting:
            return _spell(min(declared, default=0), names)  # refused for its number
    found = declared or fitting
    if len(found) == 1 and (not fitting or found <= fitting):
        return _spell(min(found), names)
    reason = "does not tell which"
    if declared and fitting:
        reason = "contradicts itself, in names and lengths, as to which"
    elif found:
        reason = "has energies that fit several axes, and does not tell which"
    sizes = " x ".join(map(str, images.shape))
    raise FileError(
        f"{layout.path} {reason} of the axes of {name} ({sizes}) is that of the "
        "energies: pass --axes, for instance EYX or YXE."
    )


def _fitting(shape: tuple[int, ...], lengths: set[int]) -> set[int]:
    """Return the axes that are as long as a list."""
    return {axis for axis, size in enumerate(shape) if size in lengths}


def _spell(energy: int, names: list[str]) -> str:
    """Return the order of the axes of which one is the energy."""
    others = [name[-1:].upper() for n, name in enumerate(names) if n != energy]
    rest = iter("XY" if others == ["X", "Y"] else "YX")
    return "".join("E" if axis == energy else next(rest) for axis in range(3))


def _declared(layout: Layout, names: list[str]) -> set[int]:
    """Return the axes that the file declares to be the energy, if any."""
    found = {axis for axis, name in enumerate(names) if is_energy(name)}
    for name in known_attributes(layout.group):
        if name.endswith("_indices") and is_energy(name.removesuffix("_indices")):
            value = np.ravel(np.asarray(layout.group.attrs[name]))
            found |= {int(axis) for axis in value if axis in range(3)}
    if found:
        return found
    groups = axis_groups(layout)
    signal = {
        axis
        for axis, group in groups.items()
        if not number_attribute(group, "navigate")
    }
    if len(groups) == 3 and len(signal) == 1:
        return signal  # a spectrum in each pixel
    if len(groups) == 3 and len(signal) == 2:
        return set(groups) - signal  # an image at each step
    interpretation = text_attribute(layout.datasets[0].images, "interpretation")
    return {"spectrum": {2}, "image": {0}}.get(interpretation.lower(), set())


def _axis_names(layout: Layout) -> list[str]:
    """Return what the file calls the axes of the stack; empty where it has no names."""
    images = layout.datasets[0].images
    for holder in (layout.group, images):
        axes = holder.attrs.get("axes")
        if axes is not None:
            names = [text(name) for name in np.ravel(axes)]
            if len(names) == 1:
                names = re.split(r"[:,\s]+", names[0].strip("[]"))
            if len(names) == 3:
                return names
    groups = axis_groups(layout)
    if len(groups) == 3:
        return [text_attribute(groups[axis], "name") for axis in range(3)]
    # dimension scales have a label, or a name of their own
    labels = [
        dimension.label or (dimension.keys() or [""])[0] for dimension in images.dims
    ]
    return [str(label).rpartition("/")[2] for label in labels] if any(labels) else []
