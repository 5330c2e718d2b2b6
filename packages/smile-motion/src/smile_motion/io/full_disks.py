"""What the system lacks, in one line with a path and a remedy: room on a disk, shared memory."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smile_motion.errors import InputError, in_one_line

SHARED_MEMORY = Path("/dev/shm")
"""Where Linux keeps memory and semaphores that processes share."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SAID = ("No space left on device", "Disk quota exceeded", "File too large")
_LEAST = 1 << 20
"""Bytes free below which a failure that gives no reason is laid to the full disk."""


@contextmanager
def full_disk_named(path: Path, written_as: Path | None = None) -> Iterator[None]:
    """Name the file in whatever is raised because a disk is full or read-only.

    Libraries that write files raise errors of their own, and Python's lack the name where a file
    could be opened but not written. Raises OSError with the name of `path`.

    written_as  temporary name of the file or folder, for which errors name `path` instead.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        named, temporary = error.filename or "", str(written_as or path)
        if error.errno is None or (named and not str(named).startswith(temporary)):
            raise
        inside = str(named)[len(temporary) :]
        raise OSError(error.errno, error.strerror, f"{path}{inside}") from error
    except Exception as error:
        said = next((said for said in _SAID if said in str(error)), None)
        if said is None and not _is_full(path):
            raise
        code = _FULL[_SAID.index(said)] if said else errno.ENOSPC
        raise OSError(code, said or _SAID[0], str(path)) from error


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _LEAST
    except OSError:
        return False


@contextmanager
def shared_memory_explained() -> Iterator[None]:
    """Say what processes that are started lack, where shared memory is missing, full or read-only.

    Raises InputError.
    """
    try:
        yield
    except InputError:
        raise
    except (OSError, ImportError, RuntimeError) as error:
        text = str(error)
        named = isinstance(error, OSError) and error.filename not in (None, str(SHARED_MEMORY))
        about = "shared memory" in text or "shm" in text or "sem_open" in text
        codes = (errno.EROFS, errno.EACCES, errno.ENOSPC, errno.ENOENT, errno.ENOSYS, errno.EPERM)
        if not about and (not isinstance(error, OSError) or named or error.errno not in codes):
            raise
        raise InputError(
            f"{SHARED_MEMORY}: processes cannot share memory ({in_one_line(error)}); make it "
            f"writable, raise the container's --shm-size, or use --workers 0"
        ) from error
