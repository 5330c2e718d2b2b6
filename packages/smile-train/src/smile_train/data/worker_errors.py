"""Errors of a data loader's workers, as the user is to read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from smile_motion.errors import InputError
from smile_motion.io.files import SHARED_MEMORY

_CARRIED = "Original Traceback"
"""In what torch makes of a worker's error."""
_KILLED = re.compile(r"DataLoader worker \(pid.*(?:is killed by signal|exited unexpectedly)")


@contextmanager
def worker_errors_in_one_line() -> Iterator[None]:
    """Raise what a worker raised as its own line, without the traceback that torch puts before it.

    Raises InputError for what a user can mend: an InputError or OSError of a worker, or a worker
    that was killed. Faults of the program stay as they are.
    """
    try:
        yield
    except (InputError, OSError) as error:
        text = str(error)
        if _CARRIED not in text:
            raise
        last = text.strip().splitlines()[-1]
        raise InputError(last.partition(": ")[2] or last) from error
    except RuntimeError as error:
        found = _KILLED.search(str(error))
        if found is None:
            raise
        if "Bus error" in str(error):
            raise InputError(
                f"{SHARED_MEMORY}: too little shared memory for what workers hand over; lower "
                f"--workers or --batch, raise the container's --shm-size, or use --workers 0"
            ) from error
        raise InputError(
            "a worker process died, perhaps for want of memory; use fewer --workers, or a smaller "
            "--batch"
        ) from error
