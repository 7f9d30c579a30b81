import errno
import os
import re

import numpy as np
import pytest

from tvjax.io import FileError, unfinished_run
from tvjax.io.journal import (
    check_journal,
    forget_journals,
    Header,
    Journal,
    kept_so_far,
    open_journal,
)

RUN = {"`alpha`": "None", "the input": "scan.h5"}
HEADER = Header(RUN, "frames", 9)
COUNTS = np.random.default_rng(0).poisson(3, (40, 50)).astype(np.uint32)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "clean" / "scan_master.h5"


def fill(output, keys, *, header=HEADER, resume=False):
    """Keep what can be told apart under some keys."""
    with open_journal(output, header, resume=resume) as journal:
        for key in keys:
            journal.keep(
                str(key), {"number": key}, [COUNTS + key, np.array(float(key))]
            )
        return journal.path


def recalled(output):
    """The keys of all entries that come back whole."""
    found = []
    with open_journal(output, HEADER, resume=True) as journal:
        for key in range(9):
            entry = journal.recall(str(key))
            if entry is not None:
                assert entry.facts == {"number": key}
                np.testing.assert_array_equal(entry.arrays[0], COUNTS + key)
                assert entry.arrays[1] == key
                found.append(key)
    return found


def test_what_was_kept_comes_back_and_grows(output):
    fill(output, (0, 1))
    assert recalled(output) == [0, 1]
    fill(output, (2,), resume=True)
    assert recalled(output) == [0, 1, 2]
    assert kept_so_far(output) == "3 of 9 frames"
    forget_journals(output)
    assert not list(output.parent.iterdir())


def test_names_that_write_the_same_files_have_one_journal(output):
    fill(output, (0, 1))
    assert kept_so_far(output.with_name("scan.h5")) == "2 of 9 frames"
    assert kept_so_far(output.with_suffix(".cbf")) is None


@pytest.mark.parametrize("cut", [1, 10, 500])
def test_a_torn_end_is_as_if_it_had_not_been_written(output, cut):
    path = fill(output, (0, 1, 2))
    path.write_bytes(path.read_bytes()[:-cut])
    assert recalled(output) == [0, 1]
    fill(output, (2, 3), resume=True)
    assert recalled(output) == [0, 1, 2, 3]


def test_any_damage_loses_entries_and_never_changes_one(output):
    path = fill(output, range(6))
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    lost = set()
    for place in rng.integers(len(whole), size=60).tolist():
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        found = recalled(output)  # which compares what comes back
        lost.add(6 - len(found))
        if not path.exists():  # the header was hit, and nothing is left
            path.write_bytes(whole)
    assert lost >= {1} and 0 not in lost


def test_a_damaged_entry_is_kept_anew(output):
    path = fill(output, range(3))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert recalled(output) == [0, 1]
    fill(output, (2,), resume=True)
    assert recalled(output) == [0, 1, 2]


def test_another_run_is_told_from_this_one(output):
    fill(output, (0,))
    other = RUN | {"`alpha`": "2.0"}
    sentence = re.escape(
        f"{output} cannot be resumed, since what was begun differs in `alpha` "
        "(None then, 2.0 now): repeat it as it was, or leave out --resume."
    )
    with pytest.raises(FileError, match=sentence):
        check_journal(output, other)
    with pytest.raises(FileError, match=sentence):
        open_journal(output, HEADER._replace(run=other), resume=True)
    check_journal(output, {"`alpha`": "None"})  # as far as it is known
    assert recalled(output) == [0]


def test_a_run_from_the_start_leaves_the_longest_one_to_resume(output):
    fill(output, range(4))
    fill(output, range(2))
    assert kept_so_far(output) == "4 of 9 frames"
    fill(output, range(1))
    assert recalled(output) == [0, 1, 2, 3]
    fill(output, range(5))
    assert recalled(output) == [0, 1, 2, 3, 4]
    # and what another run has kept is no hindrance
    fill(output, range(6), header=HEADER._replace(run=RUN | {"`alpha`": "2.0"}))
    assert recalled(output) == [0, 1, 2, 3, 4]
    forget_journals(output)
    assert not list(output.parent.iterdir())


def test_one_run_at_a_time_keeps_its_work(output):
    with open_journal(output, HEADER, resume=False) as journal:
        journal.keep("0", {}, [])
        for resume in (False, True):
            with pytest.raises(FileError, match="is being written by another run"):
                open_journal(output, HEADER, resume=resume)
        assert kept_so_far(output) == "1 of 9 frames"
    open_journal(output, HEADER, resume=True).close()


def test_a_link_in_its_place_is_not_followed(output, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    output.parent.mkdir()
    (output.parent / ".scan.h5.journal").symlink_to(precious)
    with pytest.raises(FileError, match="is a symbolic link in the place of"):
        open_journal(output, HEADER, resume=False)
    assert kept_so_far(output) is None
    assert precious.read_text() == "precious"


def test_what_is_no_journal_holds_nothing(output):
    output.parent.mkdir()
    path = output.parent / ".scan.h5.journal"
    for content in (b"", b"\x00" * 100, b"\xff" * 100, b"tvjax" * 50):
        path.write_bytes(content)
        assert kept_so_far(output) is None and unfinished_run(output) is None
        fill(output, (0,), resume=True)
        assert recalled(output) == [0]


def test_a_full_disk_keeps_what_was_kept(output, monkeypatch):
    write = os.pwrite

    def fill_up(descriptor, content, place):
        written = write(descriptor, content[:100], place)
        if len(content) <= 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written

    with open_journal(output, HEADER, resume=False) as journal:
        journal.keep("0", {"number": 0}, [COUNTS, np.array(float(0))])
        with monkeypatch.context() as full:
            full.setattr(os, "pwrite", fill_up)
            journal.keep("1", {"number": 1}, [COUNTS + 1, np.array(float(1))])
        assert journal.error is not None
        journal.keep("2", {"number": 2}, [COUNTS + 2, np.array(float(2))])
        assert len(journal) == 1
        assert os.stat(journal.path).st_size == journal._end
    assert recalled(output) == [0]


def test_a_folder_that_cannot_be_written_gets_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be written"):
        open_journal(tmp_path / "file" / "x.h5", HEADER, resume=False)


def test_a_journal_that_was_replaced_is_not_removed(output):
    path = fill(output, (0,))
    journal = Journal(path, os.open(path, os.O_RDWR))
    path.unlink()
    path.write_text("another run's")
    journal.remove()
    assert path.read_text() == "another run's"
