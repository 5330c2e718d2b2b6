"""Signals and launchers: ending work in progress cleanly."""

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
"""Programs whose end must end the programs that they started."""
_MODULES = ("accelerate", "torch.distributed")
"""Packages whose modules are launchers, as in `python -m torch.distributed.run`."""
LOOK_S = 0.5
"""Interval of checks whether launchers are alive, seconds."""
_DEPTH = 16
"""Largest number of ancestors that are checked."""


def find_launchers() -> dict[int, str]:
    """Find the launchers among the nearest ancestors of this process.

    Returns:
        Start time by process id, which tells a process from later ones with the same id; empty
        without /proc.
    """
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
    """Send this process SIGTERM when a launcher that it runs under has ended in any way.

    Call it when the program begins, since launchers that ended before are not found.
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
    """Return the parent and the start time of a process; None if it has ended."""
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
    """Run the block with signals blocked; those that arrive meanwhile come when it ends.

    It keeps what locks or starts something whole. Processes that are started in the block inherit
    the blocked signals: a terminal or a scheduler signals a whole group of processes.

    Args:
        *numbers: Signals to block.
    """
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
    """Start multiprocessing's resource tracker so that no signal to the process group ends it.

    It ignores SIGINT and SIGTERM by itself. If another signal ended it, it would be restarted
    without the list of existing semaphores, and would complain about each one that is released.
    """
    from multiprocessing import resource_tracker  # takes 50 ms, which no --help needs

    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_GROUPS)
    try:
        resource_tracker.ensure_running()  # lets SIGINT and SIGTERM through again
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_TO_GROUPS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that terminals and schedulers send to all processes of a command."""
REPEAT_S = 0.01
"""Delay before a lost interrupt is repeated, seconds."""


def repeat_lost_interrupts() -> None:
    """Repeat a KeyboardInterrupt that was raised in a destructor or a callback.

    Python prints and ignores such errors. numba, for one, destroys objects by the hundred while it
    compiles.
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
    """End the block on SIGTERM and SIGHUP as on Ctrl-C: cleanly, keeping finished work."""
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
    """Ignore signals in a process that was started by `hold_signals`.

    It serves as a data loader's `worker_init_fn`: PyTorch's workers handle SIGTERM themselves.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
