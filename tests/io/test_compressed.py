import bz2
import gzip

import pytest

from tvjax.io.compressed import open_binary

CONTENT = bytes(range(256)) * 3


def as_it_is(content):
    return content


@pytest.mark.parametrize("pack", [as_it_is, gzip.compress, bz2.compress])
def test_the_first_bytes_decide_and_not_the_name(tmp_path, pack):
    path = tmp_path / "image.gz"
    path.write_bytes(pack(CONTENT))
    with open_binary(path) as file:
        assert file.read() == CONTENT
        file.seek(255)
        assert file.read(2) == b"\xff\x00"


@pytest.mark.parametrize("content", [b"", b"B", b"BZ"])
def test_a_file_too_short_to_be_compressed_is_read_as_it_is(tmp_path, content):
    path = tmp_path / "short"
    path.write_bytes(content)
    with open_binary(path) as file:
        assert file.read() == content
