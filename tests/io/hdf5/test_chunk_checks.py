import bz2
import struct
import tracemalloc
import zlib

import h5py
import hdf5plugin
import numpy as np
import pytest

from tvjax.io import FileError, open_series
from tvjax.io.hdf5.chunk_checks import check_chunks

SHAPE = (1, 64, 64)
SIZE = 4 * 64 * 64


def written(path, filters, content, mask=0):
    """A file with one chunk that holds `content`, as if some filters had made it."""
    with h5py.File(path, "w") as file:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk(SHAPE)
        for code, *numbers in filters:
            layout.set_filter(code, h5py.h5z.FLAG_OPTIONAL, tuple(numbers))
        made = h5py.h5d.create(
            file.id,
            b"data",
            h5py.h5t.NATIVE_UINT32,
            h5py.h5s.create_simple(SHAPE),
            layout,
        )
        made.write_direct_chunk((0, 0, 0), content, mask)
    return path


@pytest.mark.parametrize(
    ("filters", "content"),
    [
        ([(32008, 0, 4, 0, 0, 2)], bytes(300)),  # divides by the size of an element
        ([(32008, 0, 4, 4, 0, 2)], struct.pack(">QI", 2**40, 8192) + bytes(300)),
        ([(32008, 0, 4, 4, 0, 2)], struct.pack(">QI", 16, 8192) + bytes(300)),
        ([(32008, 0, 4, 4, 0)], bytes(300)),
        ([(32004, 0)], struct.pack(">QI", SIZE, 0) + bytes(300)),  # goes in circles
        ([(32004, 0)], struct.pack(">QI", 2**60, 4096) + bytes(300)),
        ([(32001, 2, 2, 4, SIZE, 5, 1, 1)], bytes(4) + struct.pack("<III", 9, 9, 300)),
        ([(32015, 3)], b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**50) + bytes(99)),
        ([(32000, 4, 0, SIZE)], b"\x03abcd"),
        ([(307, 9)], bz2.compress(bytes(100))),
        ([(1, 1)], zlib.compress(bytes(100))),  # less than a chunk: HDF5 crashes
        ([(1, 1)], zlib.compress(bytes(10 * SIZE))),
        ([(2, 4), (1, 1)], zlib.compress(bytes(SIZE - 1))),
        ([(1, 1)], zlib.compress(bytes(SIZE)) + bytes(2 * SIZE)),
    ],
)
def test_a_chunk_that_is_not_what_it_says_is_refused(tmp_path, filters, content):
    path = written(tmp_path / "scan.h5", filters, content)
    with pytest.raises(FileError, match=r"scan.h5 is truncated or damaged \(.*copy it"):
        with open_series(path) as series:
            list(series.frames())


def test_a_bomb_does_not_unpack(tmp_path):
    content = zlib.compress(bytes(2**27), 9)
    path = written(tmp_path / "scan.h5", [(1, 9)], content[: SIZE + 4096])
    tracemalloc.start()
    with pytest.raises(FileError, match="damaged"):
        open_series(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


FILTERS = {
    "bitshuffle lz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bitshuffle zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "lz4": hdf5plugin.LZ4(),
    "blosc": hdf5plugin.Blosc(),
    "blosc2": hdf5plugin.Blosc2(),
    "zstd": hdf5plugin.Zstd(),
    "bzip2": hdf5plugin.BZip2(),
    "gzip": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
    "scale-offset": {"scaleoffset": 0},
    "checksum": {"compression": "gzip", "fletcher32": True},
    "sum alone": {"fletcher32": True},
    "nothing": {},
}


@pytest.mark.parametrize("options", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("chunks", [(1, 25, 19), (2, 16, 8), True])
def test_every_filter_passes_whole_and_in_part(tmp_path, options, chunks):
    counts = np.random.default_rng(0).poisson(0.5, (5, 25, 19)).astype(np.uint32)
    with h5py.File(tmp_path / "scan.h5", "w", userblock_size=512) as file:
        file.create_dataset("data", data=counts, chunks=chunks, **options)
    with h5py.File(tmp_path / "scan.h5") as file:
        check_chunks(file["data"])
        check_chunks(file["data"], (4,))
        check_chunks(file["data"], (slice(1, 4), slice(3, 20)))


def test_chunks_that_were_never_written_pass(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        data = file.create_dataset(
            "data", (6, 9, 9), "u4", chunks=(1, 9, 9), compression="gzip"
        )
        data[2] = 1
        file.flush()
        check_chunks(data)
        check_chunks(data, (0,))


def test_a_chunk_that_skipped_its_filter_is_as_it_is(tmp_path):
    path = written(tmp_path / "scan.h5", [(1, 1)], bytes(SIZE), mask=1)
    with h5py.File(path) as file:
        check_chunks(file["data"])


def test_texts_are_no_chunks_to_unpack(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("names", data=["a", "bc"], chunks=(1,), compression="gzip")
        check_chunks(file["names"])


def test_damage_behind_a_virtual_dataset_is_found_where_it_is(tmp_path):
    written(tmp_path / "bad.h5", [(1, 1)], zlib.compress(bytes(100)))
    with h5py.File(tmp_path / "good.h5", "w") as file:
        file["data"] = np.ones(SHAPE, np.uint32)
    layout = h5py.VirtualLayout((2, 64, 64), np.uint32)
    for number, name in enumerate(("good.h5", "bad.h5")):
        layout[number] = h5py.VirtualSource(name, "data", SHAPE)[0]
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    with open_series(tmp_path / "scan.h5") as series:
        assert next(series.read(0, 1))[0].sum() == 64 * 64
        with pytest.raises(FileError, match=r"bad.h5 .*\(a chunk of 16384 bytes"):
            next(series.read(1, 2))
