"""Files that may have been compressed as a whole."""

import bz2
import gzip
import io
from pathlib import Path


def open_binary(path: Path) -> io.BufferedIOBase:
    """Open `path` for reading its content, whether gzip, bzip2 or neither."""
    with path.open("rb") as file:
        start = file.read(3)
    if start == b"BZh":
        return bz2.open(path, "rb")
    if start == b"\x1f\x8b\x08":
        return gzip.GzipFile(path, "rb")
    return path.open("rb")
