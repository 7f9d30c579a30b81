"""Files that may have been compressed as a whole."""

import bz2
import gzip
import io
import os
from pathlib import Path

# Bytes that an image file may unpack to, more than any has.
MOST_UNPACKED = 2**32

# Bytes that are read at once.
_PIECE = 2**24


def open_binary(path: Path) -> io.BufferedIOBase:
    """Open `path` for reading its content, whether gzip, bzip2 or neither.

    Of a compressed file that does not end, no more is read than any image has.
    """
    with path.open("rb") as file:
        start = file.read(3)
    if start == b"BZh":
        return io.BufferedReader(_Unpacked(bz2.open(path, "rb")))
    if start == b"\x1f\x8b\x08":
        return io.BufferedReader(_Unpacked(gzip.GzipFile(path, "rb")))
    return path.open("rb")


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed as a whole."""
    with path.open("rb") as file:
        return file.read(3) in (b"BZh", b"\x1f\x8b\x08")


def read_most(file: io.BufferedIOBase, size: int) -> bytes:
    """Return the next `size` bytes, or all there are.

    What a file claims is not asked of the memory before it is there.
    """
    parts = []
    while size > 0 and (part := file.read(min(size, _PIECE))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class _Unpacked(io.RawIOBase):
    """What a decompressor reads, up to a limit."""

    def __init__(self, file: gzip.GzipFile | bz2.BZ2File) -> None:
        """Read from a decompressor."""
        self._file = file

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer, /) -> int:  # noqa: ANN001, as in Python 3.11
        """Fill `buffer`.

        Raises:
            ValueError: There is more than any image file has.
        """
        if self._file.tell() > MOST_UNPACKED:
            raise ValueError(f"it unpacks to more than {MOST_UNPACKED} bytes")
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a place, and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
