"""One process at a time in an output folder, or the jobs of one array together.

The system lets go of a lock however its process ends; a file that a killed one leaves says nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError
from smile_motion.io.schema import parse_line

LOCK = ".lock"
"""File in a folder that is locked; it is there while somebody works in the folder."""
LOOKS, LOOK_S = 5, 0.05
"""How often, and how many seconds apart, a lock is tried before another process holds it."""
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_COMMAND_SHOWN = 120
"""Characters of another process's command that are shown."""

_lent: dict[Path, tuple[int, int]] = {}
"""Output folders held by a command, each with its process and thread: what it calls may lock it."""


@contextmanager
def folder_lock(
    folder: Path, *, array: str | None = None, required: bool = False, shown: Path | None = None
) -> Iterator[None]:
    """Hold a folder while something is written in it; the folder must be there.

    array     what jobs that may write in it together call their work, such as `render 4 jobs`.
    required  refuse a file system without locks; otherwise that is said, and the work goes on.
    shown     what the folder is called where it is in use; its path by default.
    What a command calls may lock the folder that the command holds as its `output_folder`.
    Raises InputError, which names the process that is there, when another one holds it.
    """
    place = folder.resolve() / LOCK
    if _lent.get(place) == (os.getpid(), threading.get_ident()):
        yield
        return
    descriptor = _open_locked(shown or folder, place, array, required)
    if descriptor is None:
        yield
        return
    try:
        yield
    finally:
        try:
            # Others of the array may still be there. A folder renamed or removed has no file.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, place):
                place.unlink()
        except OSError:
            pass
        finally:
            os.close(descriptor)


@contextmanager
def output_folder(out: Path, *, array: str | None = None) -> Iterator[None]:
    """Make a folder if need be, and hold it; one that is empty in the end is removed again.

    Raises InputError when a file is in the way, or another process holds it.
    """
    missing = [place for place in (out, *out.parents) if not place.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{out}: a file is in the way; choose another --out") from error
    try:
        with folder_lock(out, array=array):
            _lent[(place := out.resolve() / LOCK)] = (os.getpid(), threading.get_ident())
            try:
                yield
            finally:
                _lent.pop(place, None)
    finally:
        for place in missing:
            try:
                place.rmdir()
            except OSError:  # There is something in it.
                break


def is_locked(folder: Path) -> bool:
    """Whether some process holds the folder's lock."""
    try:
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in _WITHOUT_LOCKS:
            return False
        raise
    return False


@dataclass(frozen=True, kw_only=True)
class _Holder:
    """What a lock's file says of the process that holds it."""

    pid: int
    host: str
    since: str
    command: str
    array: str | None = None


def who_is_there(place: Path) -> str:
    """Say which process holds a lock, as far as its file tells."""
    found = _read(place)
    if not found:
        return "another process is writing it"
    command = found["command"]
    if len(command) > _COMMAND_SHOWN:
        command = command[:_COMMAND_SHOWN] + "…"
    return (
        f"another process is writing it: {found['pid']} on {found['host']} since {found['since']}, "
        f"`{command}`"
    )


def _open_locked(folder: Path, place: Path, array: str | None, required: bool) -> int | None:
    """Open and lock the file; None where there are no locks."""
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_S)  # `is_locked`, or a job that begins, may hold it for an instant.
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _lock(descriptor, array) and _is_at(descriptor, place):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _WITHOUT_LOCKS:
                raise
            return _without_locks(folder, place, error, required)
        os.close(descriptor)
    raise InputError(f"{folder}: {who_is_there(place)}; wait, or choose another --out")


def _without_locks(folder: Path, place: Path, error: OSError, required: bool) -> None:
    place.unlink(missing_ok=True)
    if required:
        raise InputError(
            f"{folder}: its file system has no locks ({error.strerror}), so that a second "
            f"build would go unnoticed; build on another, such as a local disk, and copy it"
        ) from error
    print(
        f"{folder}: its file system has no locks ({error.strerror}); see to it that nothing else "
        f"writes there meanwhile",
        file=sys.stderr,
    )


def _lock(descriptor: int, array: str | None) -> bool:
    """Whether the lock could be had, alone or beside jobs of the same array."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if array is None:
            return False
    else:
        _sign(descriptor, array)
        if array is None:
            return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _parse(os.pread(descriptor, 1 << 16, 0)).get("array") == array


def _sign(descriptor: int, array: str | None) -> None:
    """Write who this is, for others to be told; what cannot be written is left out."""
    me = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "array": array,
    }
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (json.dumps(me) + "\n").encode(), 0)
    except OSError:
        if array is not None:
            raise


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parse(path.read_bytes())
    except OSError:
        return {}


def _parse(data: bytes) -> dict[str, Any]:
    """What a lock's file says; nothing where it is damaged, as its writer alone can mend it."""
    try:
        return parse_line(data, _Holder, source="lock", remedy="")
    except InputError:
        return {}


def _is_at(descriptor: int, place: Path) -> bool:
    """Whether the open file is the one of that name still, and not one that was removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False
