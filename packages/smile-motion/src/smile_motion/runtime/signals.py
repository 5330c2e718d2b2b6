"""Signals: kept from processes that are started; not lost where Python drops them."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hold_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Keep signals from the processes that are started inside, from their first moment on.

    A terminal or a scheduler signals a whole group of processes. Started ones inherit that the
    signals are blocked; this one gets afterwards what came meanwhile.
    """
    start_resource_tracker()
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


def start_resource_tracker() -> None:
    """Start the process that clears up semaphores, so that no signal to the whole group ends it.

    It ignores SIGINT and SIGTERM by itself. Ended by another, it would be started again without
    knowing of the semaphores that are there, and complain of each that is given back.
    """
    from multiprocessing import resource_tracker  # takes 50 ms, which no --help needs

    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_GROUPS)
    try:
        resource_tracker.ensure_running()  # lets SIGINT and SIGTERM through again
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_TO_GROUPS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What terminals and schedulers send to all processes of a command."""
REPEAT_S = 0.01
"""After how long a lost interrupt comes again."""


def repeat_lost_interrupts() -> None:
    """Interrupt again where a KeyboardInterrupt was raised in a destructor or a callback.

    Python prints such errors and goes on as if nothing had been. numba, for one, destroys objects
    by the hundred while it compiles.
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # Not at once: that would be raised, and lost, in here.
            again = threading.Timer(REPEAT_S, _interrupt_main)
            again.daemon = True  # a program that is ending need not be interrupted
            again.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook


def _interrupt_main() -> None:
    main = threading.main_thread().ident
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # by `hold_signals` around the start
    if main is None or signal.SIGINT in held:
        _thread.interrupt_main(signal.SIGINT)
    else:  # ends what it waits for as well
        signal.pthread_kill(main, signal.SIGINT)
