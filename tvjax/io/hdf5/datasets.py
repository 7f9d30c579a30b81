"""The datasets of an HDF5 file that are its images."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py

from tvjax.io.errors import FileError, NoImages, reading
from tvjax.io.file_names import missing_numbers
from tvjax.io.hdf5.opening import open_file
from tvjax.io.hdf5.origins import check_sources, Origin, origins
from tvjax.io.hdf5.prefixes import linked_file, Reference
from tvjax.io.hdf5.tree import (
    Address,
    address,
    find_dataset,
    find_item,
    join,
    names_in,
    NUMBERED,
    path_of,
    text,
    text_attribute,
    walk,
    walk_datasets,
)

# Names of arrays that describe a detector, and NeXus classes of groups that describe
# everything but one: orientation matrices and the like.
_CALIBRATION = {"pixel_mask", "flatfield", "trimbit"}
_NO_IMAGES = {
    *("NXsample", "NXbeam", "NXsource", "NXmonochromator", "NXattenuator", "NXlog"),
    *("NXtransformations", "NXgoniometer", "NXdetector_module", "NXgeometry"),
}

# Rows and columns below which an array is a matrix or a table, unless it is named.
SMALLEST = 8


class Images(NamedTuple):
    """The datasets of the images, in the order of their frames.

    Attributes:
        name: What `--dataset` calls them: a dataset, or a group of numbered ones.
        parts: Path and dataset of each.
        missing: Paths of the numbered ones whose files are not there, from the first
            that is not; those after it included.
        absent: A sentence that says what is not there.
    """

    name: str
    parts: list[tuple[str, h5py.Dataset]]
    missing: tuple[str, ...] = ()
    absent: str = ""

    @property
    def stacked(self) -> bool:
        """Whether there may be more than one frame."""
        return len(self.parts) > 1 or any(len(item.shape) > 2 for _, item in self.parts)

    @property
    def text(self) -> str:
        """The name, and how many frames of which size."""
        return f"{self.name} {' + '.join(str(item.shape) for _, item in self.parts)}"

    def origins(self) -> list[Origin]:
        """Return where each frame is stored."""
        return [origin for _, item in self.parts for origin in origins(item)]


def find_images(
    path: Path,
    file: h5py.File,
    dataset: str | None,
    *,
    partial: bool = False,
    smallest: int = SMALLEST,
) -> Images:
    """Return the images.

    What HDF5 shows as one dataset comes before the numbered ones that it is made of,
    where the two differ in order.

    Args:
        path: The name of the file, for sentences about it.
        file: The same, open.
        dataset: The path of the images where the user names one.
        partial: Whether the first part of them will do, where files are missing.
        smallest: Rows and columns that images have at least, unless they are named.

    Raises:
        FileError: There are no images, several stacks, or a data file is missing.
    """
    found = _find(path, file, dataset, smallest)
    if found.missing and not (partial and found.parts):
        there = sum(len(origins(item)) for _, item in found.parts)
        hint = f" Its frames 0:{there} are there: pass --frames 0:{there} for those."
        raise FileError(found.absent + (hint if there else ""))
    return found


def shown_images(path: Path, file: h5py.File) -> list[Images]:
    """Return all that a file shows as images, else all that may be some.

    Args:
        path: The name of the file, for sentences about it.
        file: The same, open.
    """
    sequences, stacks = _sequences_and_stacks(path, file, SMALLEST)
    shown = _shown(path, file, sequences, stacks, needed=False)
    return shown or [Images(name, [(name, item)]) for name, item in stacks.items()]


def check_readable(path: Path, images: h5py.Dataset) -> None:
    """Raise `FileError` where reading would fail, or would invent what is not there."""
    creation = images.id.get_create_plist()
    for index in range(creation.get_nfilters()):
        code, _, _, name = creation.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            raise FileError(
                f"{path} is compressed with the HDF5 filter {code} ({text(name)}), "
                "which is missing: run pip install --upgrade hdf5plugin."
            )
    holder = Path(images.file.filename)
    for name, *_ in images.external or ():
        if linked_file(holder, name, Reference.RAW) is None:
            raise FileError(
                f"{path} keeps its images in {name}, which is missing: bring it back, "
                f"and name its folder by {Reference.RAW.value}."
            )
    if images.is_virtual:
        check_sources(path, images)


def _find(path: Path, file: h5py.File, dataset: str | None, smallest: int) -> Images:
    if dataset is not None:
        return _named(path, file, "/" + dataset.strip("/"))
    sequences, stacks = _sequences_and_stacks(path, file, smallest)
    needed = not sequences
    if shown := _shown(path, file, sequences, stacks, needed=needed):
        return _only(path, shown)
    if lost := _lost(path, file):
        raise FileError(lost)
    return _guessed(path, file, stacks)


def _sequences_and_stacks(
    path: Path, file: h5py.File, smallest: int
) -> tuple[list[Images], dict[str, h5py.Dataset]]:
    """Return the images that are numbered, and all others that may be some."""
    sequences = list(_sequences(path, file, smallest))
    members = {address(item) for each in sequences for _, item in each.parts}
    stacks = {
        name: item
        for name, item in _stacks(file, smallest).items()
        if address(item) not in members
    }
    return sequences, stacks


def _named(path: Path, file: h5py.File, name: str) -> Images:
    item = find_item(file, name)
    if isinstance(item, h5py.Group) and (sequence := _sequence(path, name, item, 1)):
        return sequence
    if isinstance(item, h5py.Dataset) and _is_array(item):
        return Images(name, [(name, item)])
    if item is None and (lost := _missing_link(path, file, name)):
        raise FileError(lost)
    raise FileError(
        f"{path} holds no images at {name}: "
        f"choose one of {_list(_arrays(file)) or 'its datasets of two dimensions'}."
    )


def _sequences(path: Path, file: h5py.File, smallest: int) -> Iterator[Images]:
    """Yield the images that are numbered datasets in one group."""
    for name, group in walk(file, far=True):
        if isinstance(group, h5py.Group):
            sequence = _sequence(path, name, group, smallest)
            if sequence is not None:
                yield sequence


def _sequence(path: Path, name: str, group: h5py.Group, smallest: int) -> Images | None:
    """Return the images that are numbered in a group, None where there are none."""
    numbered = sorted(
        filter(NUMBERED.match, names_in(group)),
        key=lambda each: int(each.rpartition("_")[2]),
    )
    parts: list[tuple[str, h5py.Dataset]] = []
    for position, own in enumerate(numbered):
        item = find_item(group, own)
        if isinstance(item, h5py.Dataset) and _is_array(item):
            parts.append((join(name, own), item))
        elif item is None:
            missing = tuple(join(name, each) for each in numbered[position:])
            try:
                absent = _missing_link(path, group, own)
            except FileError as error:  # it is there, and damaged
                absent = str(error)
            return Images(name, parts, missing, absent)
    parts, missing, absent = _to_gap(path, name, parts)
    if missing:
        return Images(name, parts, missing, absent)
    if not any(_is_image(own, item, smallest) for own, item in parts):
        return None
    return Images(name, parts)


def _to_gap(
    path: Path, name: str, parts: list[tuple[str, h5py.Dataset]]
) -> tuple[list[tuple[str, h5py.Dataset]], tuple[str, ...], str]:
    """Return the numbered images up to the first number that is missing.

    Returns:
        These, the paths of those that follow, and a sentence on what is missing.
    """
    names = [own for own, _ in parts]
    numbers = [int(own.rpartition("_")[2]) for own in names]
    gaps = missing_numbers(numbers)
    if not gaps:
        return parts, (), ""
    place = next(n for n in range(1, len(parts)) if numbers[n] > numbers[n - 1] + 1)
    absent = (
        f"{path} has {names[place - 1]} and {names[place]} in {name}, and of the "
        f"numbers {gaps} nothing: copy the master again from its source, or choose "
        "one of its datasets with --dataset."
    )
    return parts[:place], tuple(names[place:]), absent


def _shown(
    path: Path,
    file: h5py.File,
    sequences: list[Images],
    stacks: dict[str, h5py.Dataset],
    *,
    needed: bool,
) -> list[Images]:
    """Return what the file shows as images: numbered, by its signals, or as views.

    Raises:
        FileError: A signal is not there, and `needed`.
    """
    signals = set(_signals(path, file, needed=needed))
    beside = {join(each.name, "data") for each in sequences}
    found = [
        Images(name, [(name, item)])
        for name, item in stacks.items()
        if address(item) in signals or name in beside or _is_of_detector(name, item)
    ]
    found = [*sequences, *found]
    names = {each.name for each in found}
    known = {origin for each in found for origin in each.origins()}
    views = [
        Images(name, [(name, item)])
        for name, item in stacks.items()
        if name not in names and item.is_virtual and not known.isdisjoint(origins(item))
    ]
    return [*found, *views]


def _only(path: Path, found: list[Images]) -> Images:
    """Return the images that all of `found` are, in the order that they are shown in.

    Raises:
        FileError: They are not the same frames.
    """
    found = [each for each in found if each.stacked] or found
    chosen, *others = found
    for other in others:
        chosen = _preferred(path, chosen, other)
    return chosen


def _preferred(path: Path, first: Images, second: Images) -> Images:
    shown, others = first.origins(), second.origins()
    if first.missing:
        others = others[: len(shown)]
    if shown == others:
        return first
    if set(shown).isdisjoint(others):
        raise FileError(
            f"{path} holds several stacks of images, {_list([first, second])}: "
            "choose one with --dataset."
        )
    if sorted(shown) != sorted(others):
        raise FileError(
            f"{path} shows some of its frames in one place only, of "
            f"{_list([first, second])}: choose one with --dataset."
        )
    if len(first.parts) == 1 and len(second.parts) == 1:
        raise FileError(
            f"{path} shows its frames in two orders, {_list([first, second])}: "
            "choose one with --dataset."
        )
    return second if len(second.parts) == 1 else first


def _guessed(path: Path, file: h5py.File, stacks: dict[str, h5py.Dataset]) -> Images:
    """Return what is called data, else the only stack there is."""
    for chosen in (
        [name for name in stacks if name.endswith("/data")],
        [name for name, item in stacks.items() if len(item.shape) > 2],
        list(stacks),
    ):
        if len(chosen) == 1:
            return Images(chosen[0], [(chosen[0], stacks[chosen[0]])])
    if not stacks:
        arrays = _list(_arrays(file))
        raise NoImages(
            f"{path} holds no images, only {arrays or 'other data'}: "
            "name the file with the images"
            + (", or what are images with --dataset." if arrays else ".")
        )
    return _only(path, [Images(name, [(name, item)]) for name, item in stacks.items()])


def _stacks(file: h5py.File, smallest: int) -> dict[str, h5py.Dataset]:
    return {
        name: item
        for name, item in walk_datasets(file, far=True)
        if _is_image(name, item, smallest)
    }


def _arrays(file: h5py.File) -> list[Images]:
    """Return every array that could be images, if somebody said so."""
    return [
        Images(name, [(name, item)])
        for name, item in walk_datasets(file, far=True)
        if _is_array(item)
    ]


def _is_array(item: h5py.Dataset) -> bool:
    return (
        item.shape is not None  # as that of an empty dataset is
        and len(item.shape) >= 2
        and (item.size != 0 or item.is_virtual)  # which may lack its sources
        and item.dtype.kind in "uif"
    )


def _is_image(name: str, item: h5py.Dataset, smallest: int) -> bool:
    """Return whether an array may be images, though nobody names it."""
    if not _is_array(item) or name.rpartition("/")[2] in _CALIBRATION:
        return False
    # images may have few rows, but then they are a stack of them
    sides = item.shape[-2:]
    least = max(sides) if len(item.shape) > 2 else min(sides)
    return (item.size == 0 or least >= smallest) and not _describes(item)


def _describes(item: h5py.Dataset) -> bool:
    """Return whether a dataset lies in a group that describes no detector."""
    group = path_of(item)
    while group.strip("/"):
        group = group.rpartition("/")[0]
        if _class(item.file, group or "/") in _NO_IMAGES:
            return True
    return False


def _class(file: h5py.File, group: str) -> str:
    """Return the NeXus class of a group, empty where there is none."""
    found = find_item(file, group)
    return text_attribute(found, "NX_class") if isinstance(found, h5py.Group) else ""


def _is_of_detector(name: str, item: h5py.Dataset) -> bool:
    return (
        name.endswith("/data")
        and len(item.shape) > 2
        and _class(item.file, path_of(item).rpartition("/")[0]) == "NXdetector"
    )


def _signals(path: Path, file: h5py.File, *, needed: bool) -> Iterator[Address]:
    """Yield the addresses of the datasets that NeXus marks as the signal.

    Raises:
        FileError: One of them is not there, and they are needed.
    """
    for _, item in walk(file, far=True):
        signal = text_attribute(item, "signal")
        if isinstance(item, h5py.Dataset):
            if signal == "1":
                yield address(item)
        elif text_attribute(item, "NX_class") == "NXdata":
            images = find_dataset(item, signal or "data")
            if images is not None:
                yield address(images)
            elif needed and (lost := _missing_link(path, item, signal or "data")):
                raise FileError(lost)


def _lost(path: Path, file: h5py.File) -> str:
    """Return a sentence about a link to data that leads nowhere, empty if none does."""
    for group in (file, *(item for _, item in walk(file, far=True))):
        if isinstance(group, h5py.Group) and "data" in names_in(group):
            if find_item(group, "data") is None:
                return _missing_link(path, group, "data")
    return ""


def _list(found: list[Images]) -> str:
    return ", ".join(each.text for each in found)


def _missing_link(path: Path, group: h5py.Group, name: str) -> str:
    """Return what is missing where a link leads nowhere; empty if there is no link."""
    *above, own = name.strip("/").split("/")
    for each in above:
        inner = find_item(group, each)
        if inner is None:
            return _missing_link(path, group, each)
        if not isinstance(inner, h5py.Group):
            return ""
        group = inner
    if own not in names_in(group):
        return ""
    link = group.get(own, getlink=True)
    if isinstance(link, h5py.SoftLink):
        target = group.file if link.path.startswith("/") else group
        return _missing_link(path, target, link.path) or (
            f"{path} has a link {own} that leads nowhere: "
            "copy the file again from its source."
        )
    if not isinstance(link, h5py.ExternalLink):
        return f"{path} is damaged at {own}: copy it again from its source."
    holder = Path(group.file.filename)
    data_file = linked_file(holder, link.filename, Reference.LINK)
    if data_file is None:
        return (
            f"{path} keeps its images in {link.filename}, which is missing: "
            f"copy it to {holder.resolve().parent}."
        )
    with reading(data_file):
        open_file(data_file).close()
    return (
        f"{data_file} lacks the images {link.path} that {path} "
        "expects in it: copy it again from its source."
    )
