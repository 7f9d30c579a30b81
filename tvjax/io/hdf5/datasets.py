"""Which datasets of an HDF5 file are its images?"""

from collections.abc import Iterator
from pathlib import Path

import h5py

from tvjax.io.errors import FileError, reading
from tvjax.io.hdf5.tree import address, join, NUMBERED, text, walk

_CALIBRATION = {"pixel_mask", "flatfield", "trimbit"}


def find_images(
    path: Path, file: h5py.File, dataset: str | None
) -> list[tuple[str, h5py.Dataset]]:
    """Return path and dataset of the images in the order of their frames."""
    if dataset is not None:
        return [_named(path, file, dataset)]
    for entry in file.values():
        if isinstance(entry, h5py.Group):
            for group in (entry.get("data"), entry):
                if isinstance(group, h5py.Group):
                    names = sorted(filter(NUMBERED.match, group))
                    if names:
                        return [
                            (join(group.name, name), _follow(path, group, name))
                            for name in names
                        ]
    return [_stack(path, file)]


def _named(path: Path, file: h5py.File, dataset: str) -> tuple[str, h5py.Dataset]:
    name = "/" + dataset.strip("/")
    if name not in file or not _is_stack(name, file[name]):
        raise FileError(
            f"{path} holds no images at {name}: "
            f"choose one of {_list(_stacks(file)) or 'its datasets of two dimensions'}."
        )
    return name, file[name]


def _stack(path: Path, file: h5py.File) -> tuple[str, h5py.Dataset]:
    """Return the signal, else what is called data, else the only stack there is."""
    stacks = _stacks(file)
    signals = set(_signals(file))
    for chosen in (
        [name for name, item in stacks.items() if address(item) in signals],
        [name for name in stacks if name.endswith("/data")],
        [name for name, item in stacks.items() if item.ndim > 2],
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
    return {name: item for name, item in walk(file) if _is_stack(name, item)}


def _is_stack(name: str, item: object) -> bool:
    return (
        isinstance(item, h5py.Dataset)
        and item.ndim >= 2
        and item.size > 0
        and item.dtype.kind in "uif"
        and name.rpartition("/")[2] not in _CALIBRATION
    )


def _signals(file: h5py.File) -> Iterator[tuple[int, int]]:
    """Yield the addresses of the datasets that NeXus marks as the signal."""
    for _, item in walk(file):
        if isinstance(item, h5py.Dataset) and text(item.attrs.get("signal", "")) == "1":
            yield address(item)
        if text(item.attrs.get("NX_class", "")) == "NXdata":
            signal = item.get(text(item.attrs.get("signal", "")) or "data")
            if isinstance(signal, h5py.Dataset):
                yield address(signal)


def _list(stacks: dict[str, h5py.Dataset]) -> str:
    return ", ".join(f"{name} {item.shape}" for name, item in stacks.items())


def _follow(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    """Return the dataset that a link leads to, or say what is missing."""
    try:
        return group[name]
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
