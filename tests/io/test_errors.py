import errno
import os
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from tvjax.io import FileError, open_series
from tvjax.io.errors import cannot_write, printable, reading
from tvjax.io.hdf5.read import read_dataset

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


def test_a_sentence_passes_unchanged():
    error = FileError("as it is")
    with pytest.raises(FileError) as caught, reading(PATH):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError("no 8 TiB"), "more memory than there is (no 8 TiB): use a comp"),
        (OSError(errno.ENOMEM, "no"), "asks for more memory than there is"),
        (OSError(errno.EIO, "x"), "disk or network fails (Input/output error): check"),
        (OSError(errno.ESTALE, "x"), "disk or network fails (Stale file handle)"),
        (OSError(errno.ENOTCONN, "x"), "check the mount, and try again."),
        (BlockingIOError(errno.EAGAIN, "unable to lock file"), "is held open by a"),
        (OSError(errno.ENOLCK, "unable to lock file"), "cannot be locked: set HDF5_"),
        (OSError("file is already open for write"), "h5clear -s"),
        (OSError("Can't read (can't open directory (/x))"), "upgrade hdf5plugin"),
        (OSError("required filter 'x' is not registered"), "upgrade hdf5plugin"),
        (OSError(errno.EMFILE, "x"), "one open file too many: raise the limit"),
        (OSError(errno.ELOOP, "x"), "leads back to itself: mend the link"),
        (OSError(errno.ENAMETOOLONG, "x"), "is no name of a file (File name too long)"),
    ],
)
def test_what_is_no_damage_is_not_called_so(error, sentence):
    with pytest.raises(FileError) as caught, reading(PATH):
        raise error
    assert str(caught.value).startswith("scan.h5 ")
    assert sentence in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_a_broken_link_says_where_it_leads(tmp_path):
    (tmp_path / "scan.h5").symlink_to("nowhere.h5")
    with pytest.raises(FileError, match="scan.h5 is a link to nowhere.h5, which is"):
        open_series(tmp_path / "scan.h5")


def test_a_pipe_is_refused_before_it_blocks(tmp_path):
    os.mkfifo(tmp_path / "scan.h5")
    with pytest.raises(FileError, match="scan.h5 is a pipe or a device: write its"):
        open_series(tmp_path / "scan.h5")


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero"])
def test_a_device_is_refused(name):
    with pytest.raises(FileError, match="is a pipe or a device"):
        open_series(name)


HOLDER = """
import sys, h5py
with h5py.File(sys.argv[1], sys.argv[2], libver="latest") as file:
    file.require_dataset("x", (2, 4, 5), "u4")
    file.flush()
    print("open", flush=True)
    sys.stdin.read() or sys.exit()
"""


def held(path, mode):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    return holder


def test_a_file_that_another_program_writes_is_not_called_damaged(tmp_path):
    path = tmp_path / "scan.h5"
    holder = held(path, "w")
    try:
        with pytest.raises(FileError, match="scan.h5 is held open by a program that"):
            open_series(path)
    finally:
        holder.kill()
        holder.communicate()
    with pytest.raises(FileError, match="was not closed after a crash.*h5clear -s"):
        open_series(path)


def test_a_filter_that_is_missing_in_data_beside_the_images_is_named(tmp_path):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.ones((2, 4, 5), np.uint32)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk((4,))
        layout.set_filter(40001, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((4,))
        made = h5py.h5d.create(file.id, b"e", h5py.h5t.NATIVE_INT32, space, layout)
        made.write_direct_chunk((0,), b"x" * 16)
    with pytest.raises(FileError, match="missing: run pip install --upgrade hdf5plug"):
        read_dataset(path, "e", largest=1)


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("scan_µ–é.h5\nnext", "scan_µ–é.h5\nnext"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("a\x9bb\u202ec\udcff", "a\\x9bb\\u202ec\\udcff"),
    ],
)
def test_characters_that_command_a_terminal_are_shown(text, shown):
    assert printable(text) == shown


def test_no_name_in_a_sentence_moves_the_terminal():
    error = FileError("/\x1b[31mred\r\n\udcff has no \u00b5.")
    assert str(error) == "/\\x1b[31mred\\r\\n\\udcff has no \u00b5."
