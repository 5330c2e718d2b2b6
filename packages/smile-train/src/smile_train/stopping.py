"""Stopping a run from outside, at the end of a step."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

EXIT_REQUEUE = 75
"""Exit code of a run that was asked to stop and can be resumed (EX_TEMPFAIL)."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def children_ignoring_stops() -> Iterator[None]:
    """Have processes started inside leave the signals to this one, from their first moment on.

    A scheduler or a terminal signals the whole group; a child inherits what is ignored here.
    (PyTorch's workers undo it for SIGTERM: hence `ignore_stops`, and `next_or_none`.)
    """
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_stops(_: int = 0) -> None:
    """Ignore the signals in this process; for a data loader's `worker_init_fn`."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class StopRequest:
    """Turns signals into a wish that the loop looks at; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        """Catch the signals."""
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def next_or_none(self, batches: Iterator[Any]) -> Any:
        """The next batch; None where workers have gone because the whole group was stopped."""
        try:
            return next(batches)
        except (RuntimeError, OSError):
            if self.asked:
                return None
            raise

    def leave_if_asked(self, out: Path) -> None:
        """End the program with `EXIT_REQUEUE` if a stop was asked for."""
        if self.asked:
            print(
                f"stopped after a checkpoint; continue with --resume --out {out}", file=sys.stderr
            )
            sys.exit(EXIT_REQUEUE)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
