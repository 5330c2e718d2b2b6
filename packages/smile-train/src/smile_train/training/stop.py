"""Stopping a run from outside, at the end of a step."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from smile_motion.errors import InputError
from smile_motion.runtime.signals import SIGNALS

from smile_train.data.loader import worker_errors_in_one_line

EXIT_REQUEUE = 75
"""Exit code of a run that was asked to stop and can be resumed (EX_TEMPFAIL)."""


class StopRequest:
    """Turns signals into a wish that the loop looks at; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        """Catch the signals."""
        for number in SIGNALS:
            # `nohup` has a closed terminal ignored.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def next_or_none(self, batches: Iterator[Any]) -> Any:
        """The next batch; None where workers have gone because the whole group was stopped."""
        try:
            with worker_errors_in_one_line():
                return next(batches)
        except (RuntimeError, OSError, InputError):
            if self.asked:
                return None
            raise

    def leave_if_asked(self, out: Path) -> None:
        """End the program with `EXIT_REQUEUE` if a stop was asked for."""
        if self.asked:
            with suppress(OSError):  # Terminals close, and readers leave.
                print(
                    f"stopped after a checkpoint; continue with --resume --out {out}",
                    file=sys.stderr,
                )
            sys.exit(EXIT_REQUEUE)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
