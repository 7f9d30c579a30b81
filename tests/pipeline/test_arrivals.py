import os
import signal
import threading
import time

import pytest

from tvjax.pipeline.arrivals import Arrivals, ended_by_interruption


class Come:
    """A series of which so many frames have come at each look."""

    def __init__(self, *numbers, expected=None):
        self.numbers = iter(numbers)
        self.expected = expected
        self.doubts = ()
        self.looks = []

    def look(self, *, last=False):
        self.looks.append(last)
        self.number = next(self.numbers, getattr(self, "number", 0))
        return self.number

    def take(self, start, stop, like):
        raise NotImplementedError

    def open(self):
        raise NotImplementedError

    def order(self):
        raise NotImplementedError


def test_the_end_is_when_nothing_came_for_a_while():
    growing = Come(0, 2, 2, 3)
    arrivals = Arrivals(growing, 0.5, threading.Event())
    start = time.monotonic()
    assert arrivals.wait(3) == 3
    assert arrivals.wait(4) == 3
    assert time.monotonic() - start >= 0.5
    assert growing.looks[-1] and not any(growing.looks[:-1])
    looks = len(growing.looks)
    assert arrivals.wait(9) == 3 and len(growing.looks) == looks


def test_the_end_is_when_all_are_there_that_are_expected():
    arrivals = Arrivals(Come(1, 4, expected=4), 60.0, threading.Event())
    assert arrivals.wait(9) == 4
    assert arrivals.wait(9) == 4


def test_an_interruption_is_the_end_and_what_has_come_counts():
    ended = threading.Event()
    growing = Come(1, 3, 9)
    arrivals = Arrivals(growing, 60.0, ended)
    assert arrivals.wait(1) == 1
    ended.set()
    assert arrivals.wait(2) == 3
    assert arrivals.wait(4) == 3  # what comes later does not


def test_the_first_signal_ends_and_the_second_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), ended_by_interruption() as ended:
            assert not ended.is_set()
            os.kill(os.getpid(), signal.SIGINT)
            assert ended.wait(5)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ended_by_interruption() as ended:
            os.kill(os.getpid(), signal.SIGINT)
            assert not ended.wait(0.05)
    finally:
        signal.signal(signal.SIGINT, before)
