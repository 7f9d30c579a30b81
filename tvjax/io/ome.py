"""The order of the images of an OME-TIFF, and the other files that some lie in."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple
from xml.etree import ElementTree

# Images of one set that are listed: a description may tell of any number.
_MOST = 2**20

# The axes of images behind x and y, in the order that is usual.
_OUTER = "ZCT"


class Plane(NamedTuple):
    """Where one image lies.

    Attributes:
        file: Name of another file; empty for the one that was read.
        page: Its page there.
    """

    file: str
    page: int


def find_planes(description: str) -> list[Plane]:
    """Return where each image lies, in their order; nothing where that is not told.

    Args:
        description: The description of the first page, in the XML of OME.
    """
    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError:
        return []
    own = root.get("UUID", "")
    return [
        plane
        for pixels in root.iterfind("./{*}Image/{*}Pixels")
        for _, plane in sorted(islice(_planes(pixels, own), _MOST))
    ]


def other_files(planes: list[Plane]) -> tuple[str, ...]:
    """Return the names of the other files that images lie in."""
    return tuple(dict.fromkeys(plane.file for plane in planes if plane.file))


def _planes(pixels: ElementTree.Element, own: str) -> Iterator[tuple[int, Plane]]:
    """Yield place and plane of the images of one set."""
    outer = pixels.get("DimensionOrder", f"XY{_OUTER}")[2:]
    sizes = {axis: _number(pixels, f"Size{axis}", 1) for axis in _OUTER}
    every = sizes["Z"] * sizes["C"] * sizes["T"]
    for data in pixels.iterfind("./{*}TiffData"):
        place, step = 0, 1
        for axis in outer:
            place += step * _number(data, f"First{axis}", 0)
            step *= sizes.get(axis, 1)
        single = "IFD" in data.attrib
        count = _number(data, "PlaneCount", 1 if single else every - place)
        uuid = data.find("./{*}UUID")
        told = uuid is not None and (uuid.text or "").strip() != own
        name = uuid.get("FileName", "") if uuid is not None and told else ""
        for n in range(min(count, every - place)):
            yield place + n, Plane(name, _number(data, "IFD", 0) + n)


def _number(item: ElementTree.Element, name: str, otherwise: int) -> int:
    """Return a whole number among the attributes, `otherwise` where there is none."""
    text = item.get(name, "")
    return int(text) if text.isdecimal() else otherwise
