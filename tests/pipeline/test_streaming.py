import threading
import time
from contextlib import closing

import pytest

from tvjax.pipeline.streaming import no_progress, read_ahead, WAITING, write_behind


def test_items_come_in_order():
    assert list(read_ahead(iter(range(10)))) == list(range(10))
    assert list(read_ahead([])) == []


def test_an_item_that_is_none_is_no_end():
    assert list(read_ahead([1, None, 2])) == [1, None, 2]


def test_items_are_taken_in_another_thread_and_few_ahead():
    taken = []

    def source():
        for number in range(20):
            taken.append((number, threading.current_thread()))
            yield number

    with closing(read_ahead(source())) as items:
        assert next(items) == 0
        deadline = time.monotonic() + 5
        while len(taken) < 1 + WAITING and time.monotonic() < deadline:
            time.sleep(0.001)
        # the one in hand and those that wait
        assert [number for number, _ in taken] == list(range(1 + WAITING))
    assert threading.main_thread() not in {thread for _, thread in taken}


def test_an_error_of_the_source_is_raised_where_it_is_read():
    def source():
        yield 1
        raise OSError("no more")

    items = read_ahead(source())
    assert next(items) == 1
    with pytest.raises(OSError, match="no more"):
        next(items)


def test_a_reader_that_stops_leaves_no_thread():
    before = threading.active_count()
    with closing(read_ahead(iter(range(10)))) as items:
        next(items)
    assert threading.active_count() == before


def test_calls_are_made_in_order_and_all_of_them_before_leaving():
    written = []

    def write(number, *, name):
        time.sleep(0.001)
        written.append((number, name, threading.current_thread()))

    with write_behind(write) as later:
        for number in range(7):
            later(number, name="x")
    assert [call[:2] for call in written] == [(number, "x") for number in range(7)]
    assert threading.main_thread() not in {thread for _, _, thread in written}


def test_an_error_of_writing_is_raised_at_the_latest_on_leaving():
    def write(number):
        raise OSError(f"disk full at {number}")

    with pytest.raises(OSError, match="disk full at 0"), write_behind(write) as later:
        later(0)


def test_progress_that_nobody_hears_of_is_nothing():
    assert no_progress(1, 2) is None
