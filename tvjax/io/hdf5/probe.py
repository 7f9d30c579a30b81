"""A look at all that HDF5 files say of themselves, as a program of its own.

HDF5 goes in circles in some damaged files, and crashes in others. This program reads
names of files, one a line, and answers each with a line when all objects and attributes
were read. Its end instead of an answer tells of one that cannot be.
"""

import resource
import signal
import sys
from pathlib import Path

import h5py

# Seconds of work for one object, however slow the disk is, and bytes of memory.
PATIENCE = 2.0
ROOM = 2**32

# Groups within groups that are read.
DEEPEST = 64

# Values of a dataset that are texts or lists, and kept apart from it.
MOST_TEXTS = 2**16


def look(path: str) -> str:
    """Return how a look at a file ends: `well`, or `memory` where that was missing."""
    try:
        with h5py.File(path, "r") as file:
            _look_at("/", file)
            file.visititems(_look_at)
    except MemoryError:
        return "memory"
    except Exception:  # who reads the file meets it too, and says what it means
        return "well"
    return "well"


def _look_at(name: str, item: h5py.Group | h5py.Dataset) -> bool | None:
    """Read what an object says; return True where none deeper is worth a look."""
    if name.count("/") > DEEPEST:
        return True  # each takes longer than the last, and nobody reads it
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)  # the system ends what takes longer
    for each in item.attrs:
        try:
            item.attrs[each]
        except (OSError, TypeError, ValueError, RuntimeError, KeyError):
            continue
    if isinstance(item, h5py.Dataset) and item.dtype.hasobject:
        if item.size is not None and item.size <= MOST_TEXTS and not item.is_virtual:
            item[()]
    return None


def main() -> None:
    """Answer the names that come, until there are no more."""
    room = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (room + ROOM, room + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of its input is its end
    for line in sys.stdin:
        print(look(line.rstrip("\n").encode().decode("unicode_escape")), flush=True)


if __name__ == "__main__":
    main()
