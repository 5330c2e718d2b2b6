"""The programs that started this one to run under them, and whether they are still there.

A scheduler, `timeout` or a closed terminal may end `accelerate launch` alone, which then tells its
processes nothing. A run that was detached on purpose, by `nohup` or a shell that ends, has a parent
that is no launcher: that one may leave.
"""

from __future__ import annotations

import os
import signal
import threading
import time
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
