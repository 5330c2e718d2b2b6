"""Signals while processes are started."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def hold_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Keep signals from the processes that are started inside, from their first moment on.

    A terminal or a scheduler signals a whole group of processes. Started ones inherit that the
    signals are blocked; this one gets afterwards what came meanwhile.
    """
    resource_tracker.ensure_running()  # its start would let the signals through again
    came: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        # Other threads may be handed a signal, of which Python tells the main one at once.
        handlers = {n: signal.signal(n, lambda number, _: came.append(number)) for n in numbers}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for number in came:
            signal.raise_signal(number)
