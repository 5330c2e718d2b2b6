"""Locks on folders. The system lets go of a lock however its process ends; files left are none."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smile_motion.errors import InputError

LOCK = ".lock"
LOOKS, LOOK_S = 5, 0.05
"""How often, and how many seconds apart, a lock is tried before another process holds it."""
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock while something is built in it.

    Raises InputError when another process holds it, or the file system has no locks.
    """
    with (folder / LOCK).open("w") as lock:
        try:
            # `is_locked` of another process may hold it for an instant.
            for _ in range(LOOKS):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(LOOK_S)
            else:
                raise InputError(
                    f"{folder}: another process is building it; wait, or choose another --out"
                )
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            raise InputError(
                f"{folder}: its file system has no locks ({error.strerror}), so that a second "
                f"build would go unnoticed; build on another, such as a local disk, and copy it"
            ) from error
        yield


def is_locked(folder: Path) -> bool:
    """Whether some process holds the folder's lock."""
    try:
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
