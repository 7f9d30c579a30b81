"""The datasets of an HDF5 file that are its images."""

from collections.abc import Iterator
from pathlib import Path

import h5py

from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.tree import (
    address,
    dataset_at,
    find_dataset,
    join,
    NUMBERED,
    path_of,
    text,
    text_attribute,
    walk,
    walk_datasets,
)

_CALIBRATION = {"pixel_mask", "flatfield", "trimbit"}


def find_images(
    path: Path, file: h5py.File, dataset: str | None
) -> list[tuple[str, h5py.Dataset]]:
    """Return path and dataset of the images in the order of their frames.

    Args:
        path: The name of the file, for sentences about it.
        file: The same, open.
        dataset: The path of the images where the user names one.

    Raises:
        FileError: There are no images, several stacks, or a data file is missing.
    """
    if dataset is not None:
        return [_named(path, file, dataset)]
    for entry in file.values():
        if isinstance(entry, h5py.Group):
            for group in (entry.get("data"), entry):
                if isinstance(group, h5py.Group):
                    names = sorted(filter(NUMBERED.match, group))
                    if names:
                        return [
                            (join(path_of(group), name), _follow(path, group, name))
                            for name in names
                        ]
    return [_only_stack(path, file)]


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
    if images.is_virtual:
        # HDF5 fills what it does not find with zeros, without a word.
        for source in images.virtual_sources():
            if source.file_name != "." and "%" not in source.file_name:
                _check_present(Path(images.file.filename), source.file_name)


def _named(path: Path, file: h5py.File, dataset: str) -> tuple[str, h5py.Dataset]:
    name = "/" + dataset.strip("/")
    images = find_dataset(file, name)
    if images is None or not _is_stack(name, images):
        raise FileError(
            f"{path} holds no images at {name}: "
            f"choose one of {_list(_stacks(file)) or 'its datasets of two dimensions'}."
        )
    return name, images


def _only_stack(path: Path, file: h5py.File) -> tuple[str, h5py.Dataset]:
    """Return the signal, else what is called data, else the only stack there is."""
    stacks = _stacks(file)
    signals = set(_signals(file))
    for chosen in (
        [name for name, item in stacks.items() if address(item) in signals],
        [name for name in stacks if name.endswith("/data")],
        [name for name, item in stacks.items() if len(item.shape or ()) > 2],
        list(stacks),
    ):
        if len(chosen) == 1:
            return chosen[0], stacks[chosen[0]]
    if not stacks:
        raise FileError(
            f"{path} holds no images, only other data: name the file with the images."
        )
    raise FileError(
        f"{path} holds several stacks of images, {_list(stacks)}: "
        "choose one with --dataset."
    )


def _stacks(file: h5py.File) -> dict[str, h5py.Dataset]:
    return {name: item for name, item in walk_datasets(file) if _is_stack(name, item)}


def _is_stack(name: str, item: h5py.Dataset) -> bool:
    return (
        item.shape is not None  # as that of an empty dataset is
        and len(item.shape) >= 2
        and item.size != 0
        and item.dtype.kind in "uif"
        and name.rpartition("/")[2] not in _CALIBRATION
    )


def _signals(file: h5py.File) -> Iterator[tuple[int, int]]:
    """Yield the addresses of the datasets that NeXus marks as the signal."""
    for _, item in walk(file):
        signal = text_attribute(item, "signal")
        if isinstance(item, h5py.Dataset):
            if signal == "1":
                yield address(item)
        elif text_attribute(item, "NX_class") == "NXdata":
            images = find_dataset(item, signal or "data")
            if images is not None:
                yield address(images)


def _list(stacks: dict[str, h5py.Dataset]) -> str:
    return ", ".join(f"{name} {item.shape}" for name, item in stacks.items())


def _follow(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    """Return the dataset that a link leads to, or say what is missing."""
    try:
        return dataset_at(group, name)
    except (KeyError, OSError) as error:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.ExternalLink):
            raise FileError(
                f"{path} has a link {name} that leads nowhere: "
                "copy the file again from its source."
            ) from error
        _check_present(path, link.filename)
        with reading(path.parent / link.filename):
            h5py.File(path.parent / link.filename, "r").close()
        raise FileError(
            f"{path.parent / link.filename} lacks the images {link.path} that {path} "
            "expects in it: copy it again from its source."
        ) from error


def _check_present(path: Path, data_file: str) -> None:
    if not (path.parent / data_file).exists():
        raise FileError(
            f"{path} keeps its images in {data_file}, which is missing: "
            f"copy it to {path.parent.resolve()}."
        )
