"""Files: atomic writes, JSON, text in any usual encoding, full disks named in one line."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError, in_one_line


def sha256(data: bytes) -> str:
    """Return the SHA-256 hash of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, which replaces `path` when the block ends.

    If writing fails or is interrupted, `path` is unchanged and the temporary file is removed. The
    temporary files of killed processes are removed by `remove_leftovers`.
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
    """Remove the temporary files that killed processes left in a folder.

    Args:
        folder: Folder to clean.
        besides: Final names of files that other processes may be writing now; their temporary files
            are kept.
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
    """Write a file atomically: whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def dump_json(data: Any) -> bytes:
    """Encode a value as indented JSON that ends in a newline."""
    return encode_json(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def encode_json(text: str) -> bytes:
    """Encode JSON text as UTF-8; file names that are not UTF-8 are escaped and read back."""
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate, as JSON escapes it


def parse_json(text: str | bytes) -> Any:
    """Decode untrusted JSON.

    Raises:
        json.JSONDecodeError: The text is not JSON, is nested too deeply, or has a number of
            thousands of digits.
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
"""File system of shared memory and semaphores on Linux."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SAID = ("No space left on device", "Disk quota exceeded", "File too large")
_LEAST = 1 << 20
"""Free bytes below which a failure without a reason is attributed to a full disk."""


@contextmanager
def full_disk_named(path: Path, written_as: Path | None = None) -> Iterator[None]:
    """Name the file in errors raised because a disk is full or read-only.

    Libraries raise errors of their own, and Python's lack the file name if the file could be opened
    but not written.

    Args:
        path: File or folder that the error names.
        written_as: Temporary path that it is written under, if any.

    Raises:
        OSError: The disk is full or read-only; `filename` is `path`.
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
    """Explain failures to start processes that are caused by shared memory.

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


LARGEST_TEXT_BYTES = 256 << 20
"""Largest text file that is read; the largest official lists have 40 MB."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks, those of UTF-32 before the shorter ones that they begin with."""
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_text(path: Path, *, remedy: str, names_files: bool = False) -> str:
    """Read a text file: UTF-8, or the encoding of its byte-order mark.

    Args:
        path: Path of the file.
        remedy: Remedy named in errors, such as `check --data`.
        names_files: Decode bytes that are not UTF-8 with `surrogateescape`, so that lines that are
            file names open the files.

    Raises:
        InputError: The file is missing, too large, or not text.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder; expected a text file; {remedy}")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_TEXT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file; {remedy}") from error
    if len(data) > LARGEST_TEXT_BYTES:
        raise InputError(f"{path}: more than {LARGEST_TEXT_BYTES >> 20} MiB for a text; {remedy}")
    return decode_text(data, path, remedy=remedy, names_files=names_files)


def decode_text(data: bytes, source: Path, *, remedy: str, names_files: bool = False) -> str:
    """Decode the bytes of a text file; see `read_text`.

    Args:
        data: Content of the file.
        source: Path named in errors.
        remedy: Remedy named in errors.
        names_files: Accept file names that are not UTF-8.

    Raises:
        InputError: The bytes are not text.
    """
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    escapes = names_files and encoding == "utf-8"
    try:
        text = data[len(mark) :].decode(encoding, "surrogateescape" if escapes else "strict")
    except UnicodeDecodeError as error:
        line = len(_LINE_END.findall(data[: error.start].decode("latin-1"))) + 1
        raise InputError(
            f"{source}:{line}: not {encoding.upper()} text; save it as UTF-8; {remedy}"
        ) from error
    if "\0" in text:
        raise InputError(f"{source}: not text (it has bytes of value 0); {remedy}")
    return text


def read_lines(path: Path, *, remedy: str, names_files: bool = False) -> list[str]:
    """Read the lines of a text file without line ends (LF, CR LF or CR); see `read_text`.

    Raises:
        InputError: The file is missing, too large, or not text.
    """
    return split_lines(read_text(path, remedy=remedy, names_files=names_files))


def split_lines(text: str) -> list[str]:
    """Split text at line ends only; `str.splitlines` also splits at characters of file names."""
    lines = _LINE_END.split(text)
    return lines[:-1] if lines[-1] == "" else lines
