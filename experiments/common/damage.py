"""What happens to files: bits, bytes, numbers in headers, and the objects of HDF5."""

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

Random = np.random.Generator

# Numbers that no file should have, as texts and as integers.
TEXTS = (
    *(b"0", b"-1", b"1", b"2", b"nan", b"inf", b"-inf", b"1e308", b"1e-308", b"", b"x"),
    *(b"131072", b"17179869184", b"99999999999999999999999", b"1,5", b"\xbd", b"0x10"),
    *(b"\x1b[31m", b"1e400", b"-131072", b"True", b"\x00", b"1_000", b"4294967295"),
)
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 131072)
WIDE = (*EXTREMES, 2**34, 2**63 - 1, 2**63, 2**64 - 1)


def _choose(random: Random, items):
    return items[int(random.integers(len(items)))]


def _place(random: Random, size: int) -> int:
    """A position in a file, more often near its beginning."""
    reach = size if random.random() < 0.5 else min(size, 2048)
    return int(random.integers(max(reach, 1)))


def flip_bits(content: bytearray, random: Random) -> None:
    """Turn a few bits round."""
    for _ in range(int(random.integers(1, 9))):
        content[_place(random, len(content))] ^= 1 << int(random.integers(8))


def cut(content: bytearray, random: Random) -> None:
    """Leave the end out."""
    del content[_place(random, len(content)) :]


def fill_block(content: bytearray, random: Random) -> None:
    """Fill a part with one byte."""
    first, size = _place(random, len(content)), 2 ** int(random.integers(13))
    byte = _choose(random, (0, 0, 0xFF, 0x20))
    size = len(content[first : first + size])
    content[first : first + size] = bytes([byte]) * size


def shift(content: bytearray, random: Random) -> None:
    """Insert bytes, or remove some."""
    first, size = _place(random, len(content)), int(random.integers(1, 64))
    if random.random() < 0.5:
        content[first:first] = random.bytes(size)
    else:
        del content[first : first + size]


def move_block(content: bytearray, random: Random) -> None:
    """Write one part over another."""
    first, other = _place(random, len(content)), _place(random, len(content))
    part = content[first : first + 2 ** int(random.integers(10))]
    content[other : other + len(part)] = part


def put_extreme(content: bytearray, random: Random) -> None:
    """Write an extreme number in some width and byte order."""
    for _ in range(int(random.integers(1, 4))):
        width = _choose(random, "BHIQ")
        code = _choose(random, "<>") + width
        size = struct.calcsize(code)
        first = _place(random, len(content)) // size * size
        value = _choose(random, WIDE) % 2 ** (8 * size)
        if first + size <= len(content):
            content[first : first + size] = struct.pack(code, value)


def put_text(content: bytearray, random: Random) -> None:
    """Replace a number or a word in the text at the beginning."""
    words = list(re.finditer(rb"[-+.\w]+", bytes(content[:4096])))
    if words:
        word = _choose(random, words)
        content[word.start() : word.end()] = _choose(random, TEXTS)


def change_lines(content: bytearray, random: Random) -> None:
    """Remove, double or swap lines in the text at the beginning."""
    lines = bytes(content[:4096]).split(b"\n")
    first, other = (int(random.integers(len(lines))) for _ in range(2))
    lines[first] = _choose(random, (b"", lines[first] + b"\n" + lines[other]))
    content[:4096] = b"\n".join(lines)


BYTES: tuple[Callable[[bytearray, Random], None], ...] = (
    *(flip_bits, cut, fill_block, shift, move_block, put_extreme),
    *(put_extreme, put_text, put_text, change_lines),
)


def damage_bytes(path: Path, random: Random) -> str:
    """Damage a file without knowledge of what it is; return in a word how."""
    content = bytearray(path.read_bytes())
    change = _choose(random, BYTES)
    change(content, random)
    path.write_bytes(content)
    return change.__name__


# What an attribute can be that should be something else.
VALUES = (
    *(0, -1, 2**63 - 1, np.nan, np.inf, 1e308, "", "x", "\x1b[31m\n", True, 1j),
    *(np.zeros(3), np.zeros((2, 2, 2)), np.zeros(0), ["a", "b"], b"\xff\xfe\xbd"),
    *(h5py.Empty("f8"), h5py.Empty("S3"), np.arange(8, dtype=">u2")),
    *(np.zeros(2, [("a", "i4"), ("b", "S2")]), np.array(["x" * 300], object)),
)
TYPES = (
    *(">u4", "<u2", "i1", ">i2", "u8", "i8", "f2", ">f4", "f8", "c8", "?", "S4"),
    *(h5py.string_dtype(), h5py.ref_dtype, [("a", "i4"), ("b", "f8")], "V3"),
    *(h5py.vlen_dtype(np.int32), h5py.enum_dtype({"A": 0, "B": 1}), ("u4", (2,))),
)
SHAPES = (
    *((0,), (2**34,), (131072, 131072), (4, 131072, 131072), (2**40, 24, 20)),
    *((0, 24, 20), (6, 0, 20), (6, 24), (24, 20), (1,), (), (3, 24, 20), (6, 24, 20)),
    *((1,) * 32, (6, 1, 24, 20), (6, 2, 24, 20), (2**20, 2**20, 2**20)),
)


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(
        lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None
    )
    return found


def _replaced(file: h5py.File, random: Random) -> tuple[h5py.Group, str, h5py.Dataset]:
    """Take a dataset away, and return where it was."""
    item = _choose(random, _datasets(file))
    parent, name = item.parent, item.name.rpartition("/")[2]
    del parent[name]
    return parent, name, item


def change_attribute(file: h5py.File, random: Random) -> None:
    """Give an attribute another value, or another type."""
    holders = [file, *_datasets(file), *(i.parent for i in _datasets(file))]
    holder = _choose(random, holders)
    more = ("units", "signal", "axes", "mask", "NX_class", "interpretation")
    names = [*holder.attrs, _choose(random, more)]
    holder.attrs[_choose(random, names)] = _choose(random, VALUES)


def change_values(file: h5py.File, random: Random) -> None:
    """Write extremes over what a dataset holds."""
    item = _choose(random, _datasets(file))
    if item.dtype.kind in "iuf" and not item.is_virtual and item.size:
        limits = np.finfo if item.dtype.kind == "f" else np.iinfo
        extremes = [limits(item.dtype).min, limits(item.dtype).max, 0, 1]
        if item.dtype.kind == "f":
            extremes += [np.nan, np.inf]
        item[...] = random.choice(extremes, item.shape).astype(item.dtype)


def change_type(file: h5py.File, random: Random) -> None:
    """Make a dataset of the same shape and another type."""
    parent, name, item = _replaced(file, random)
    parent.create_dataset(name, item.shape, _choose(random, TYPES))


def change_shape(file: h5py.File, random: Random) -> None:
    """Make a dataset that claims another shape, of which nothing is written."""
    parent, name, item = _replaced(file, random)
    shape = _choose(random, SHAPES)
    kind = item.dtype if item.dtype.kind in "iufS" else "f8"
    chunks = tuple(min(n, 64) or 1 for n in shape) if len(shape) < 9 else None
    if shape and random.random() < 0.8:
        parent.create_dataset(name, shape, kind, chunks=chunks)
    else:
        parent[name] = h5py.Empty(kind)


def change_object(file: h5py.File, random: Random) -> None:
    """Put a group, a link, a text or a type in the place of a dataset."""
    parent, name, item = _replaced(file, random)
    special = Path(file.filename).with_name("pipe")
    if not special.exists():
        os.mkfifo(special)
    own = Path(file.filename).name
    new = [
        *(h5py.SoftLink("nowhere"), h5py.SoftLink(f"{parent.name}/{name}"), "text"),
        *(h5py.ExternalLink("none.h5", "/x"), h5py.ExternalLink("pipe", "/x")),
        *(h5py.ExternalLink(own, f"{parent.name}/{name}"), np.dtype("f4"), file),
        *(h5py.ExternalLink("/dev/zero", "/x"), h5py.ExternalLink(".", "/"), parent),
        *(h5py.ExternalLink("\x1b[31mred\n.h5", "/x"), b"\x1b[31m", ["a", "b"]),
    ]
    parent[name] = new[int(random.integers(len(new)))]


def nest(file: h5py.File, random: Random) -> None:
    """Add groups in groups, in a ring, or with names that a terminal obeys."""
    groups = [file, *(item.parent for item in _datasets(file))]
    group = _choose(random, groups)
    kind = int(random.integers(5))
    if kind == 0:
        for _ in range(1500):
            group = group.create_group("g")
    elif kind == 1:
        group["ring"], group["again"] = group, file
    elif kind == 2:
        group["\x1b[31mred\r\n"] = np.zeros((6, 24, 20))
    elif kind == 3:
        group.id.links.create_soft(b"\xff\xfe\xbd", b"\xff")
        h5py.h5g.create(group.id, b"\xbd_data")
    else:
        data = group.create_group("data_000001")
        data.attrs["NX_class"], data["data"] = "NXdata", h5py.SoftLink("..")


def change_filter(file: h5py.File, random: Random) -> None:
    """Make a dataset whose chunks or filters are not what they say."""
    parent, name, item = _replaced(file, random)
    shape = tuple(item.shape or ()) or (8,)
    kind = item.dtype if item.dtype.kind in "iuf" else np.dtype("f8")
    code = _choose(random, (1, 2, 3, 4, 5, 6, 307, 32000, 32001, 32004, 32008, 32015))
    code = _choose(random, (code, code, code, 32013, 32026, 65000))
    numbers = tuple(_choose(random, WIDE[:10]) for _ in range(int(random.integers(9))))
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk(tuple(max(n, 1) for n in (1, *shape[1:])))
    layout.set_filter(code, h5py.h5z.FLAG_OPTIONAL, numbers)
    space = h5py.h5s.create_simple(shape)
    made = h5py.h5d.create(
        parent.id, name.encode(), h5py.h5t.py_create(kind), space, layout
    )
    sizes = [_choose(random, WIDE) for _ in range(3)]
    head = struct.pack(">QII", sizes[0], sizes[1] % 2**32, sizes[2] % 2**32)
    content = head + random.bytes(int(random.integers(1, 400)))
    for index in range(shape[0]):
        made.write_direct_chunk((index, *(0,) * (len(shape) - 1)), content)


def swell(file: h5py.File, random: Random) -> None:
    """Make a dataset of which a few bytes claim to be many."""
    import zlib

    parent, name, item = _replaced(file, random)
    shape = tuple(item.shape or ()) or (8,)
    kind = item.dtype if item.dtype.kind in "iuf" else np.dtype("f8")
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk(tuple(max(n, 1) for n in (1, *shape[1:])))
    layout.set_deflate(1)
    space = h5py.h5s.create_simple(shape)
    made = h5py.h5d.create(
        parent.id, name.encode(), h5py.h5t.py_create(kind), space, layout
    )
    content = zlib.compress(bytes(2**28), 9)  # 256 MB in 256 kB
    for index in range(min(shape[0], 2)):
        made.write_direct_chunk((index, *(0,) * (len(shape) - 1)), content)


def show(file: h5py.File, random: Random) -> None:
    """Make a virtual dataset of itself, of nothing, or of raw bytes of a device."""
    parent, name, item = _replaced(file, random)
    shape = tuple(item.shape or ()) or (8,)
    kind = item.dtype if item.dtype.kind in "iuf" else np.dtype("f8")
    where = f"{parent.name}/{name}"
    sources = ("none.h5", ".", "/dev/zero", "\x1b[31m.h5", "part%b.h5")
    if random.random() < 0.3:
        place = _choose(random, ("/dev/zero", "none.raw", str(file.filename)))
        size = int(np.prod(shape)) * kind.itemsize
        parent.create_dataset(name, shape, kind, external=[(place, 0, size)])
        return
    layout = h5py.VirtualLayout(shape, kind)
    source = _choose(random, sources)
    layout[...] = h5py.VirtualSource(source, _choose(random, (where, "x")), shape)
    parent.create_virtual_dataset(name, layout)


OBJECTS: tuple[Callable[[h5py.File, Random], None], ...] = (
    *(change_attribute, change_attribute, change_values, change_type, change_type),
    *(change_shape, change_shape, change_object, change_object, nest),
    *(change_filter, change_filter, swell, show),
)


def damage_objects(path: Path, random: Random) -> str:
    """Damage what an HDF5 file holds, so that HDF5 can still read it."""
    change = _choose(random, OBJECTS)
    with h5py.File(path, "r+") as file:
        change(file, random)
    return change.__name__
