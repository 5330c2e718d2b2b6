"""How files are written: whole or not at all, and the same bytes for the same content."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smile_motion.io.full_disks import full_disk_named


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

    besides  names that others may be writing there now; nothing else may be.
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

    Raises json.JSONDecodeError for all that is no JSON, and also for what Python gives up on with
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
