"""Imported first by the process that workers are forked from; see `workers.fork_server`."""

import pickle
import sys
from types import TracebackType


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say nothing of a worker that was to start when its program was killed: it finds the end, or
    a part, of what it was to be told."""
    if not issubclass(kind, (EOFError, pickle.UnpicklingError)):
        sys.__excepthook__(kind, error, trace)


# Errors come here only before a worker's own function is called.
sys.excepthook = _say
