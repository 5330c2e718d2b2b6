"""Locks on folders. The system lets go of a lock however its process ends; files left are none."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smile_motion.errors import InputError

LOCK = ".lock"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock while something is built in it.

    Raises InputError when another process holds it, or the file system has no locks.
    """
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another process is building it; wait, or choose another --out"
            ) from error
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
