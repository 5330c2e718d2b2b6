"""Signals and launchers: how work that is under way learns that it is to end."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

LAUNCHERS = frozenset({"accelerate", "torchrun", "uv", "uvx"})
"""Programs that end with what they have started."""
_MODULES = ("accelerate", "torch.distributed")
"""Packages whose modules are launchers, as in `python -m torch.distributed.run`."""
LOOK_S = 0.5
"""How often launchers are looked for, seconds."""
_DEPTH = 16
"""Ancestors that are looked at, at most."""


def find_launchers() -> dict[int, str]:
    """The launchers among this process's ancestors, with what tells each from later processes of
    the same number: nothing where there is no /proc, or the nearest ancestors are no launchers."""
    found: dict[int, str] = {}
    process = os.getppid()
    for _ in range(_DEPTH):
        state = _state(process)
        if state is None or not _is_launcher(process):
            break
        parent, started = state
        found[process] = started
        process = parent
    return found


def end_with_launchers() -> None:
    """Send this process SIGTERM when a program that it runs under has gone, however it went.

    To be called when the program begins, since what has gone by then is not found.
    """
    launchers = find_launchers()

    def watch() -> None:
        while all(
            (state := _state(process)) is not None and state[1] == started
            for process, started in launchers.items()
        ):
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    if launchers:
        threading.Thread(target=watch, daemon=True).start()


def _state(process: int) -> tuple[int, str] | None:
    """A process's parent and when it started; None where it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the name in brackets, of any characters.
    words = text.rpartition(")")[2].split()
    return None if words[0] in "ZX" else (int(words[1]), words[19])


def _is_launcher(process: int) -> bool:
    try:
        data = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    words = data.decode("utf-8", errors="replace").split("\0")
    if any(Path(word).name in LAUNCHERS for word in words[:2]):
        return True
    return any(one == "-m" and other.startswith(_MODULES) for one, other in pairwise(words))


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


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """End on SIGTERM and SIGHUP as on Ctrl-C: cleanly, with what is finished kept."""
    import signal

    def end(number: int, frame: object) -> None:
        with suppress(OSError):  # The terminal may have gone.
            print("stopped; the same command continues", file=sys.stderr)
        raise SystemExit(128 + number)

    former = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            # `nohup` has a closed terminal ignored.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                former[number] = signal.signal(number, end)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def ignore_stops(_: int = 0) -> None:
    """Ignore the signals in this process, started while they were held; a data loader's
    `worker_init_fn`, since PyTorch's workers have a handler of their own for SIGTERM."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
