"""A look at all that HDF5 files say of themselves, as a program of its own.

HDF5 goes in circles in some damaged files, and crashes in others. This program reads
names of files, one a line, and answers each with a line when all objects and attributes
were read. Its end instead of an answer tells of one that cannot be.
"""

import contextlib
import resource
import signal
import sys
from pathlib import Path

import h5py
import h5py.h5o

# Seconds of work for one object, however slow the disk is, and bytes of memory.
PATIENCE = 2.0
ROOM = 2**32

# Groups within groups that are read.
DEEPEST = 64

# Values of a dataset that are texts or lists, and kept apart from it.
MOST_TEXTS = 2**16


# What h5py raises at damage. Who reads the file meets it too, and says what it means.
_DAMAGE = (KeyError, OSError, RuntimeError, TypeError, ValueError, NotImplementedError)


def look(path: str) -> str:
    """Return how a look at a file ends: `well`, or `memory` where that was missing."""
    try:
        _start_clock()
        with h5py.File(path, "r") as file:
            _look_at(file, 0, set())
    except MemoryError:
        return "memory"
    except _DAMAGE:
        return "well"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "well"


def _start_clock() -> None:
    """Let the system end this program unless the clock is started again in time."""
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)


def _look_at(
    item: h5py.Group | h5py.Dataset | h5py.Datatype, depth: int, seen: set[int]
) -> None:
    """Read what an object says, and all below it, whatever of that is damaged."""
    _start_clock()
    with contextlib.suppress(*_DAMAGE):
        for name in item.attrs:
            with contextlib.suppress(*_DAMAGE):
                item.attrs[name]
    with contextlib.suppress(*_DAMAGE):
        if isinstance(item, h5py.Dataset) and item.dtype.hasobject:
            if item.size is not None and item.size <= MOST_TEXTS:
                _ = None if item.is_virtual else item[()]
    if not isinstance(item, h5py.Group) or depth > DEEPEST:
        return
    with contextlib.suppress(*_DAMAGE):
        for name in item:
            with contextlib.suppress(*_DAMAGE):
                _look_below(item, str(name), depth, seen)


def _look_below(group: h5py.Group, name: str, depth: int, seen: set[int]) -> None:
    if isinstance(group.get(name, getlink=True), h5py.HardLink):
        below = group[name]
        place = h5py.h5o.get_info(below.id).addr
        if place not in seen:
            seen.add(place)
            _look_at(below, depth + 1, seen)


def serve() -> None:
    """Answer the names that come, until there are no more."""
    room = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (room + ROOM, room + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of its input is its end
    for line in sys.stdin:
        print(look(line.rstrip("\n").encode().decode("unicode_escape")), flush=True)


if __name__ == "__main__":
    serve()
