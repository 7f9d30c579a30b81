"""CBF images, read and written.

The text before the image is kept word for word, so that an integrator finds in a
denoised file what it found in the raw one.
"""

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fabio.compression import compByteOffset, decByteOffset
from jaxtyping import Int

from tvjax.io.compressed import open_binary, read_most
from tvjax.io.dectris_header import (
    amend_header,
    compose_header,
    parse_header,
    read_denoised_by,
)
from tvjax.io.encoding import Encoding
from tvjax.io.errors import FileError
from tvjax.io.file_names import numbered
from tvjax.io.limits import check_images, MOST_TEXT
from tvjax.io.provenance import Provenance
from tvjax.io.series import Description, Frame, Selection, Series
from tvjax.io.staging import Staging

# What the tables of formats know this one by, and what it can hold.
NAME = "cbf"
MAGICS = (b"###CBF",)
SUFFIXES = (".cbf",)
DTYPES = ("int32",)
KEEPS_PROVENANCE = False

_SECTION = b"--CIF-BINARY-FORMAT-SECTION--"
_STARTER = b"\x0c\x1a\x04\xd5"
# Bytes that are read at once, and the most that a pixel can take: 1 + 2 + 4 + 8.
_PIECE = 2**16
_LONGEST = 15
_ELEMENTS = {
    "signed 8-bit integer": "i1",
    "signed 16-bit integer": "<i2",
    "signed 32-bit integer": "<i4",
    "unsigned 8-bit integer": "u1",
    "unsigned 16-bit integer": "<u2",
    "unsigned 32-bit integer": "<u4",
}


def describe(path: Path) -> Description:
    """Return the metadata in the text before the image."""
    with open_binary(path) as file:
        text = _split(file)[0]
    return Description(1, parse_header(text), read_denoised_by(text))


def read(
    path: Path, start: int, stop: int
) -> Iterator[tuple[Int[np.ndarray, "height width"], str]]:
    """Yield the image and the text before it.

    Raises:
        FileError: The compression is not byte offset, the only one in use.
        ValueError: The image is incomplete or does not match its checksum.
    """
    with open_binary(path) as file:
        text, fields, rest = _split(file)
        yield from _frames(path, file, text, fields, rest, stop - start)


def _frames(
    path: Path,
    file: io.BufferedIOBase,
    text: str,
    fields: str,
    rest: bytes,
    number: int,
) -> Iterator[tuple[Int[np.ndarray, "height width"], str]]:
    """Yield the image `number` times, of which `rest` was read of the file so far."""
    if "x-CBF_BYTE_OFFSET" not in fields:
        raise FileError(
            f"{path} is compressed in another way than byte offset: "
            "convert it with the CBF library first."
        )
    size = int(_field(fields, "X-Binary-Size"))
    rows = int(_field(fields, "X-Binary-Size-Second-Dimension"))
    columns = int(_field(fields, "X-Binary-Size-Fastest-Dimension"))
    check_images(path, "", 1, (rows, columns))
    # a pixel takes a byte at least, and the last of its escapes eight
    if not 0 < rows * columns <= size <= _LONGEST * rows * columns:
        raise ValueError(f"{size} bytes cannot hold {rows} x {columns} pixels")
    packed = rest[:size] + read_most(file, size - len(rest))
    if len(packed) < size:
        raise ValueError(f"{len(packed)} of {size} bytes are there")
    checksum = re.search(r"Content-MD5:\s*(\S+)", fields)
    if checksum and checksum[1] != _checksum(packed):
        raise ValueError("the checksum does not match")
    dtype = np.dtype(_ELEMENTS[_field(fields, "X-Binary-Element-Type")])
    # fabio declares `dtype` a string, and takes a type of NumPy
    image = decByteOffset(packed, size=rows * columns, dtype=dtype)  # type: ignore
    for _ in range(number):
        yield image.reshape(rows, columns), text


def output_files(path: Path, like: Series, selection: Selection) -> list[Path]:
    """Return `path` for one frame, else a numbered file a frame."""
    one = selection.num_frames == 1 and "#" not in path.name
    return [path] if one else numbered(path, like.numbers_of(selection))


class CbfSink:
    """Writes one CBF file a frame."""

    def __init__(
        self,
        staging: Staging,
        files: list[Path],
        like: Series,
        encoding: Encoding,
        program: str | None,
    ) -> None:
        """Write to `files`; `program` is who denoises, None if nobody does."""
        self._staging = staging
        self._files = iter(files)
        self._like = like
        self._encoding = encoding
        self._program = program

    def append(self, stored: Int[np.ndarray, "height width"], frame: Frame) -> None:
        """Write the next frame after the text that came with it."""
        path = next(self._files)
        text = frame.header
        if not text.startswith(MAGICS[0].decode()):
            text = _new_text(path.stem, compose_header(self._like, frame))
        with self._staging.open(path) as file:
            _write(file, stored, amend_header(text, self._encoding, self._program))

    def finish(self, provenance: Provenance | None) -> None:
        """Leave the provenance to the sidecar: the format has no place for it."""

    def close(self) -> None:
        """Leave all as it is: each file is complete."""


def create_sink(
    staging: Staging,
    files: list[Path],
    like: Series,
    selection: Selection,
    encoding: Encoding,
    program: str | None,
) -> CbfSink:
    """Start to write `files`, one a frame."""
    return CbfSink(staging, files, like, encoding, program)


def _write(
    file: io.RawIOBase, image: Int[np.ndarray, "height width"], text: str
) -> None:
    """Write `image` as 32-bit integers after `text`, compressed by byte offset."""
    rows, columns = image.shape
    packed = compByteOffset(np.ascontiguousarray(image, np.int32))
    fields = (
        "Content-Type: application/octet-stream;",
        '     conversions="x-CBF_BYTE_OFFSET"',
        "Content-Transfer-Encoding: BINARY",
        f"X-Binary-Size: {len(packed)}",
        "X-Binary-ID: 1",
        'X-Binary-Element-Type: "signed 32-bit integer"',
        "X-Binary-Element-Byte-Order: LITTLE_ENDIAN",
        f"Content-MD5: {_checksum(packed)}",
        f"X-Binary-Number-of-Elements: {rows * columns}",
        f"X-Binary-Size-Fastest-Dimension: {columns}",
        f"X-Binary-Size-Second-Dimension: {rows}",
        "X-Binary-Size-Padding: 4095",
    )
    file.write(text.encode("latin-1"))
    file.write(_SECTION + b"\r\n" + "\r\n".join(fields).encode() + b"\r\n\r\n")
    file.write(_STARTER + packed + bytes(4095))
    file.write(b"\r\n" + _SECTION + b"--\r\n;\r\n\r\n")


def _new_text(name: str, header: str) -> str:
    """Return the text before a frame where the input had none."""
    return (
        "###CBF: VERSION 1.5, tvjax\r\n"
        f"\r\ndata_{name}\r\n"
        '\r\n_array_data.header_convention "PILATUS_1.2"\r\n'
        "_array_data.header_contents\r\n;\r\n"
        + header.replace("\n", "\r\n")
        + ";\r\n\r\n_array_data.data\r\n;\r\n"
    )


def _split(file: io.BufferedIOBase) -> tuple[str, str, bytes]:
    """Return the text, the fields of the binary section and what was read behind."""
    content = b""
    while _STARTER not in content and len(content) < MOST_TEXT:
        part = file.read(_PIECE)
        if not part:
            break
        content += part
    text, found, rest = content.partition(_SECTION)
    fields, starter, packed = rest.partition(_STARTER)
    if not (found and starter):
        raise ValueError("there is no image in it")
    return text.decode("latin-1"), fields.decode("latin-1"), packed


def _field(fields: str, name: str) -> str:
    found = re.search(rf'{name}:\s*"?([^"\r\n]+)', fields)
    if not found:
        raise ValueError(f"the field {name} is missing")
    return found[1].strip()


def _checksum(packed: bytes) -> str:
    return base64.b64encode(
        hashlib.md5(packed, usedforsecurity=False).digest()
    ).decode()
