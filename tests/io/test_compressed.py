import bz2
import gzip

import pytest

from tvjax.io import compressed, FileError, open_series
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


def test_a_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "MOST_UNPACKED", 2**20)
    path = tmp_path / "bomb.img.gz"
    path.write_bytes(gzip.compress(bytes(2**22)))
    with pytest.raises(FileError, match="unpacks to more than 1048576 bytes"):
        open_series(path)


def test_what_a_file_claims_is_read_as_far_as_it_goes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with compressed.open_binary(tmp_path / "a") as file:
        assert compressed.read_most(file, 2**50) == b"abc"
