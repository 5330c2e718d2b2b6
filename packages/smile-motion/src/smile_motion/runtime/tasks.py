"""Tasks of a pool, awaited so that an interrupt may come at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from smile_motion.runtime.signals import SIGNALS, hold_signals

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Items per thread in work, or finished and not taken."""


class Tasks(Generic[Result]):
    """Tasks of a pool in the order in which they end.

    `Future.result` and `concurrent.futures.wait` wait in Python code that holds locks. An interrupt
    between two of its lines leaves them locked, or unlocks them for a thread of the pool, which
    then waits forever or ends. Here signals are held while there are locks, and waiting is a
    single call of C code.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._ended: SimpleQueue[Future[Result]] = SimpleQueue()
        self.unfinished = 0
        """Number of tasks that `wait` has not returned."""

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Give a call to the pool."""
        with hold_signals(*SIGNALS):
            task = self._pool.submit(work, *arguments)
            self.unfinished += 1
            task.add_done_callback(self._ended.put)
        return task

    def wait(self) -> Future[Result]:
        """Return the next task that ends, in any way."""
        task = self._ended.get()
        self.unfinished -= 1
        return task


def map_in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int = AHEAD
) -> Iterator[Result]:
    """Call a function in threads; results come in the order of the items.

    Args:
        work: Function of an item.
        items: Items, which are taken as needed.
        threads: Number of threads.
        ahead: Items per thread that may be in work, or finished and not taken.

    Yields:
        The result of each item.
    """
    with ThreadPoolExecutor(threads) as pool:
        tasks: Tasks[Result] = Tasks(pool)
        coming = iter(items)
        waiting: deque[Future[Result]] = deque()
        ended: set[Future[Result]] = set()
        try:
            while True:
                for item in islice(coming, ahead * threads - len(waiting)):
                    waiting.append(tasks.submit(work, item))
                if not waiting:
                    return
                first = waiting.popleft()
                while first not in ended:
                    ended.add(tasks.wait())
                ended.remove(first)
                yield first.result()
        finally:
            with hold_signals(*SIGNALS):
                for task in waiting:
                    task.cancel()
