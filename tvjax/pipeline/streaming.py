"""Reading and writing in threads of their own while something is computed."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeAlias, TypeVar

# Items that wait on either side of the computation: one in hand and one to come keep
# a slow disk busy, and memory holds no more of them.
WAITING = 2

# What is called with the steps done and the number of all steps.
Progress: TypeAlias = Callable[[int, int], None]

_T = TypeVar("_T")
_P = ParamSpec("_P")


def no_progress(done: int, total: int) -> None:
    """Tell nobody about the progress."""


def read_ahead(items: Iterable[_T]) -> Generator[_T, None, None]:
    """Yield `items`, taking the next ones in a thread."""
    source = iter(items)

    def take() -> list[_T]:
        """The next item; nothing at the end."""
        for item in source:
            return [item]
        return []

    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(take) for _ in range(WAITING))
        while found := pending.popleft().result():
            pending.append(pool.submit(take))
            yield from found


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
