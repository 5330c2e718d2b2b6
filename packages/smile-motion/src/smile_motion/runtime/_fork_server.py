"""Imported first by the process that workers are forked from; see `workers.fork_server`."""

import select
import sys
from types import TracebackType


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say nothing of a worker whose program was killed while the worker was starting: what it was
    to be told ends early, and what it was to use is gone."""
    if not _is_orphan(trace):
        sys.__excepthook__(kind, error, trace)


def _is_orphan(trace: TracebackType | None) -> bool:
    """Whether the other end of the pipe that the program writes to is closed."""
    while trace is not None:
        pipe = trace.tb_frame.f_locals.get("parent_sentinel")
        if pipe is not None:
            asked = select.poll()
            asked.register(pipe, 0)
            return any(event & select.POLLHUP for _, event in asked.poll(0))
        trace = trace.tb_next
    return False


# Errors come here only before a worker's own function is called.
sys.excepthook = _say
