import errno
import zlib
from pathlib import Path

import pytest

from tvjax.io import FileError
from tvjax.io.errors import cannot_write, reading

PATH = Path("scan.h5")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (FileNotFoundError(), "scan.h5 does not exist: check the name."),
        (IsADirectoryError(), "scan.h5 is a folder: name the files in it."),
        (PermissionError(), "scan.h5 may not be read: change its permissions."),
        (AssertionError(), "truncated or damaged (AssertionError): copy it again"),
        (zlib.error("bad\nlines"), "truncated or damaged (bad): copy it again"),
    ],
)
def test_whatever_a_decoder_raises_names_the_file_and_a_remedy(error, sentence):
    with pytest.raises(FileError) as caught, reading(PATH):
        raise error
    assert sentence in str(caught.value)


@pytest.mark.parametrize("error", [FileError("as it is"), MemoryError()])
def test_what_is_no_fault_of_the_file_passes_unchanged(error):
    with pytest.raises(type(error)) as caught, reading(PATH):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full or a quota is reached: free some space"),
        (errno.EDQUOT, "the disk is full or a quota is reached: free some space"),
        (errno.EROFS, "its folder is read-only: choose another folder."),
        (errno.EIO, "(broken): choose another output."),
    ],
)
def test_a_failure_to_write_tells_what_to_do(number, sentence):
    found = str(cannot_write(PATH, OSError(number, "broken")))
    assert found.startswith("scan.h5 cannot be written")
    assert sentence in found
