"""Files written whole or not at all, and errors of full disks in one line."""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError, in_one_line


def sha256(data: bytes) -> str:
    """Hash of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name for a file or folder to be written under, which then takes the place of `path`.

    Where writing fails or is interrupted, `path` is as it was and nothing else is left. What a
    process leaves that is killed, `remove_leftovers` clears up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = secrets.token_hex(6)  # Processes of other machines may have the same number.
    temporary = path.with_name(f".{path.name}.{own}.tmp")
    former = path.with_name(f".{path.name}.{own}.former.tmp")
    try:
        with full_disk_named(path, temporary):
            yield temporary
        if path.is_dir():
            path.rename(former)
        temporary.replace(path)
    except BaseException:
        if former.is_dir() and not path.exists():
            former.rename(path)
        _remove(temporary)
        raise
    _remove(former)


def remove_leftovers(folder: Path, *, besides: Collection[str] = ()) -> None:
    """Remove what killed processes were writing in a folder.

    Args:
        besides: Names that others may be writing there now; nothing else may be.
    """
    for path in folder.glob(".*.tmp"):
        if not path.name.startswith(tuple(f".{name}." for name in besides)):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def dump_json(data: Any) -> bytes:
    """Encode JSON for people to read, ending in a newline."""
    return encode_json(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def encode_json(text: str) -> bytes:
    """Encode JSON text as UTF-8; names of files that are none come back when it is read."""
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate, as JSON escapes it


def parse_json(text: str | bytes) -> Any:
    """Decode JSON that somebody else wrote.

    Raises:
        json.JSONDecodeError: For all that is no JSON, and also for what Python gives up on with
            other errors: nested too deeply, or numbers of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError as error:
        raise json.JSONDecodeError(str(error).partition(";")[0], "", 0) from None


def dump_lines(records: Iterable[dict[str, Any]]) -> bytes:
    """Encode records as JSON lines."""
    return encode_json("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records))


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

    Args:
        written_as: Temporary name of the file or folder, for which errors name `path` instead.
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

    Raises:
        InputError: Shared memory is missing, full or read-only.
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
