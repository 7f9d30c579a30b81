"""How are TIFF images read and written, MarCCD's among them?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Num

from . import header
from .compressed import open_binary
from .errors import FileError
from .series import Description

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def describe(path: Path) -> Description:
    """Return the number of pages and what the first one's description tells."""
    with open_binary(path) as file, tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        by = page.software if page.software.startswith("tvjax ") else None
        return Description(len(tiff.pages), header.parse(page.description), by)


def read(
    path: Path, start: int, stop: int
) -> Iterator[tuple[Num[np.ndarray, "y x"], str]]:
    """Yield each page from `start` to `stop` with its description."""
    with open_binary(path) as file, tifffile.TiffFile(file) as tiff:
        for page in tiff.pages[start:stop]:
            image = page.asarray()
            if image.ndim != 2:
                raise FileError(
                    f"{path} is a color image: convert it to one value a pixel."
                )
            yield image, page.description


def write(
    writer: tifffile.TiffWriter,
    image: Num[np.ndarray, "y x"],
    description: str,
    program: str | None,
) -> None:
    """Append `image` as one page; `program` says who made it."""
    writer.write(
        image,
        photometric="minisblack",
        contiguous=False,
        description=description.encode("latin-1", "replace") or None,
        software=program or False,
        metadata=None,
    )
