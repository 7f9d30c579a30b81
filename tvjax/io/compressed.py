"""How is a file read that may have been compressed as a whole?"""

import bz2
import gzip
from pathlib import Path
from typing import BinaryIO

_OPENERS = {b"BZh": bz2.open, b"\x1f\x8b\x08": gzip.open}


def open_binary(path: Path) -> BinaryIO:
    """Open `path` for reading its content, whether gzip, bzip2 or neither."""
    with path.open("rb") as file:
        start = file.read(3)
    return _OPENERS.get(start, open)(path, "rb")
