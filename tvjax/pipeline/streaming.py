"""How do reading and writing go on while something is computed?"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

WAITING = 2
"""Items that wait on either side of the computation."""

_END = object()
_T = TypeVar("_T")
_P = ParamSpec("_P")


def read_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yield `items`, taking the next ones in a thread."""
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, items, _END) for _ in range(WAITING))
        while (item := pending.popleft().result()) is not _END:
            pending.append(pool.submit(next, items, _END))
            yield item


@contextmanager
def write_behind(write: Callable[_P, None]) -> Iterator[Callable[_P, None]]:
    """Give a `write` that returns at once while only a few calls wait.

    An error of one call is raised by a later one, or on leaving.
    """
    pending: deque[Future[None]] = deque()

    def later(*args: _P.args, **kwargs: _P.kwargs) -> None:
        while len(pending) >= WAITING:
            pending.popleft().result()
        pending.append(pool.submit(write, *args, **kwargs))

    with ThreadPoolExecutor(1) as pool:
        yield later
        for future in pending:
            future.result()
