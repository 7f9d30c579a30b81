"""HDF5 files opened for reading, once it is known that HDF5 survives it."""

import atexit
import contextlib
import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  registers the decompressors

from tvjax.io.errors import check_kind, FileError
from tvjax.io.hdf5 import probe


def open_file(path: Path, *, swmr: bool = False) -> h5py.File:
    """Open a file for reading.

    Args:
        path: The file.
        swmr: Whether it may be being written. Then it is not looked at before: what is
            half written looks like damage, and is another thing at the next look.

    Raises:
        FileError: HDF5 would hang or crash in it, or it is a pipe or a device.
        OSError: It cannot be opened.
    """
    check_kind(path)
    if swmr:
        return h5py.File(path, "r", swmr=True)
    found = path.stat()
    _check(path.absolute(), found.st_ino, found.st_mtime_ns, found.st_size)
    return h5py.File(path, "r")


# A master leads to many files, and to each of them several times.
@functools.lru_cache(maxsize=4096)
def _check(path: Path, place: int, changed: int, size: int) -> None:
    """Refuse a file, of which place, time and size are as given, that HDF5 dies of."""
    answer = _PROBE.ask(path)
    if answer == "memory":
        raise FileError(
            f"{path} claims more attributes or texts than memory holds: copy it again "
            "from its source."
        )
    if not answer:
        raise FileError(
            f"{path} is truncated or damaged, so that HDF5 does not come to an end in "
            "it: copy it again from its source."
        )


class _Probe:
    """The program that looks at files, started when it is first needed."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0  # the process that started it, not one forked from that

    def ask(self, path: Path) -> str:
        """Return the answer for a file, empty if the program came to its end."""
        with self._lock:
            process = self._process
            if process is None or self._owner != os.getpid():
                self._owner = os.getpid()
                process = self._process = subprocess.Popen(
                    [sys.executable, "-P", probe.__file__],
                    env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            name = str(path).encode("unicode_escape").decode()
            answer = ""
            if process.stdin and process.stdout:
                with contextlib.suppress(BrokenPipeError):
                    print(name, file=process.stdin, flush=True)
                    answer = process.stdout.readline().strip()
        if not answer:
            self.end()
        return answer

    def end(self) -> None:
        """End the program."""
        with self._lock:
            if self._process is not None and self._owner == os.getpid():
                self._process.kill()
                self._process.communicate()
            self._process = None


_PROBE = _Probe()
atexit.register(_PROBE.end)
