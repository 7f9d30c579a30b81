"""Waiting for frames that are still being measured, and the end of that."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from tvjax.io.watching import Growing

# Seconds between two looks at an input of which nothing new has come.
PAUSE = 0.2


class Arrivals:
    """Waits for frames, and knows when no more come."""

    def __init__(
        self, growing: Growing, timeout: float, ended: threading.Event
    ) -> None:
        self._growing = growing
        self.timeout = timeout
        self.ended = ended
        self._come = 0
        self._since = time.monotonic()
        self._over = False

    def wait(self, wanted: int) -> int:
        """Return how many frames have come: `wanted` or more, unless that is all."""
        while self._come < wanted and not self._over:
            start = time.monotonic()
            last = self.ended.is_set() or start - self._since >= self.timeout
            come = self._growing.look(last=last)
            now = time.monotonic()
            if come > self._come:
                self._come, self._since = come, now
            expected = self._growing.expected
            # what comes after an interruption is not waited for
            self._over = last or (expected is not None and come >= expected)
            if self._come < wanted and not self._over:
                self.ended.wait(min(max(PAUSE, now - start), self.timeout))
        return self._come


@contextlib.contextmanager
def ended_by_interruption() -> Iterator[threading.Event]:
    """Give an event that the first interruption sets; a second one interrupts."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()

    if threading.current_thread() is not threading.main_thread():
        yield ended  # which alone may handle signals
        return
    # a signal that something else handles, or ignores, is left to it
    asking = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is signal.default_int_handler
    ]
    for number in asking:
        signal.signal(number, end)
    try:
        yield ended
    finally:
        for number in asking:
            signal.signal(number, signal.default_int_handler)
