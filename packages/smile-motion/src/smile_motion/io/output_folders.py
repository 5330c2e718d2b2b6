"""Output folders: where they may be, locked while written, complete or absent.

`folder_lock` is `flock` itself: the locks of filelock cannot be shared by the jobs of an array, do
not say who holds them, and leave their files among the results.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shlex
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from smile_motion.errors import FolderInUse, InputError
from smile_motion.io.schema import parse_line

_LOGGER = logging.getLogger(__name__)
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)


def require_free(out: Path) -> None:
    """Raise InputError unless `out` is missing or an empty folder."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file is in the way; choose another --out")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: not empty; remove it or choose another --out")


@contextmanager
def new_folder(out: Path, *, resume: bool = False) -> Iterator[Path]:
    """Yield a temporary folder, which is renamed to `out` when the block ends.

    Args:
        out: Path of the new folder; missing or empty.
        resume: Continue in the temporary folder of an earlier, failed run, and keep it on failure.

    Raises:
        InputError: `out` exists and is not empty.
        FolderInUse: Another process is writing it.
    """
    require_free(out)
    temporary = out.with_name(f".{out.name}.partial")
    temporary.mkdir(parents=True, exist_ok=True)
    with folder_lock(temporary, required=True, shown=out):
        if not resume:
            _clear(temporary)
        try:
            yield temporary
            require_free(out)
            (temporary / LOCK).unlink()
            temporary.rename(out)
        except BaseException:
            if not resume:
                shutil.rmtree(temporary, ignore_errors=True)
            raise


def place_file(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy if the file system cannot link them.

    Raises:
        InputError: The source does not exist.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()
    try:
        os.link(source, target)
    except FileNotFoundError as error:
        raise InputError(f"{source}: missing; build the bank again to restore it") from error
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(source, target)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


LOCK = ".lock"
"""Lock file in a folder; it exists while a process writes in the folder."""
LOOKS, LOOK_S = 5, 0.05
"""Attempts to take a lock, and seconds between two, before the folder counts as in use."""
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_COMMAND_SHOWN = 120
"""Characters of the holder's command that messages show."""

_lent: dict[Path, tuple[int, int]] = {}
"""Lock files of output folders held by a command, with its process and thread: functions that it
calls may lock the folder again."""


@contextmanager
def folder_lock(
    folder: Path, *, array: str | None = None, required: bool = False, shown: Path | None = None
) -> Iterator[None]:
    """Lock an existing folder while something is written in it.

    A function may lock the folder that the command which calls it holds as its `output_folder`.

    Args:
        folder: The folder.
        array: Name of a job array, such as `render 4 jobs`; jobs with the same name share the lock.
        required: Refuse a file system without locks; otherwise a warning is logged.
        shown: Path of the folder in errors; the folder's own by default.

    Raises:
        FolderInUse: Another process holds the lock; the message names it.
        InputError: The file system has no locks and they are required.
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
    """Create and lock a folder; folders that were created and are empty in the end are removed.

    Args:
        out: The folder.
        array: Name of a job array that may share it; see `folder_lock`.

    Raises:
        InputError: A file is in the way.
        FolderInUse: Another process holds the folder.
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
    """Whether a process holds the lock of a folder."""
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
    """Content of a lock file: the process that holds it."""

    pid: int
    host: str
    since: str
    command: str
    array: str | None = None


def who_is_there(place: Path) -> str:
    """Describe the process that holds a lock, as far as the lock file tells."""
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
    """Open and lock the file; return None if the file system has no locks."""
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
    raise FolderInUse(f"{folder}: {who_is_there(place)}; wait, or choose another --out")


def _without_locks(folder: Path, place: Path, error: OSError, required: bool) -> None:
    place.unlink(missing_ok=True)
    if required:
        raise InputError(
            f"{folder}: its file system has no locks ({error.strerror}), so that a second "
            f"build would go unnoticed; build on another, such as a local disk, and copy it"
        ) from error
    _LOGGER.warning(
        "%s: its file system has no locks (%s); see to it that nothing else writes there meanwhile",
        *(folder, error.strerror),
    )


def _lock(descriptor: int, array: str | None) -> bool:
    """Take the lock, alone or shared with jobs of the same array; return whether it was free."""
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
    """Write the holder into the lock file; a full disk is ignored unless an array needs it."""
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
    """Parse a lock file; an empty result if it is damaged, which only its writer can repair."""
    try:
        return parse_line(data, _Holder, source="lock", remedy="")
    except InputError:
        return {}


def _is_at(descriptor: int, place: Path) -> bool:
    """Whether the path still names the open file, which another process may have removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False


Kind = Literal["an object bank", "rendered clips", "packed videos", "a training run"]
"""Content that has a folder of its own."""
_SIGNS: dict[Kind, tuple[str, ...]] = {
    "an object bank": ("bank.json", "build.json"),
    "rendered clips": ("render.json",),
    "packed videos": ("pack.json",),
    "a training run": ("checkpoints", "stage-1"),
}
"""Files, one of which is in every folder of that kind."""
_CHECKPOINT = ("manifest.json", "model.safetensors")
"""Files, both of which are in every checkpoint's folder."""


def _home() -> Path | None:
    """Return the home folder; None for users without one, as in some containers."""
    try:
        return Path.home().resolve()
    except RuntimeError:
        return None


def require_output(
    out: Path, *, inputs: Iterable[str | Path] = (), makes: Kind | None = None
) -> None:
    """Check the path of an output before anything is written.

    Args:
        out: File or folder to write to.
        inputs: Files and folders that are read; paths that do not exist are ignored.
        makes: Kind of content, if it has a folder of its own; folders of other kinds are refused.

    Raises:
        InputError: The output is an input, contains a file that is an input, lies in an object bank
            or a checkpoint, or is `/`, the home folder or the folder of a repository.
    """
    place = out.resolve()
    general = {
        "the root of all files": place == Path(place.anchor),
        "the home folder": place == _home(),
        "the folder of a repository": (place / ".git").exists(),
    }
    for what, is_that in general.items():
        if is_that:
            raise InputError(f"{out}: is {what}; give --out a folder in it, such as {out / 'out'}")
    for given in inputs:
        source = Path(given).resolve()
        if not source.exists():
            continue
        if source == place or (place.exists() and source.samefile(place)):
            raise InputError(f"{out}: is what is read; choose another --out")
        if source.is_file() and place in (source.parent, Path(given).parent.resolve()):
            raise InputError(
                f"{out}: holds {Path(given).name}, which is read; choose another --out"
            )
    for kind, signs in _SIGNS.items():
        if kind != makes and (makes or kind != "a training run") and _holds(place, signs):
            raise InputError(f"{out}: holds {kind}; choose another --out")
    for folder in place.parents:
        if _holds(folder, _SIGNS["an object bank"]):
            raise InputError(f"{out}: lies within the object bank {folder}; choose another --out")
    for folder in (place, *place.parents):
        if all((folder / name).is_file() for name in _CHECKPOINT):
            raise InputError(f"{out}: lies within the checkpoint {folder}; choose another --out")


def paths_among(options: Any, *, besides: str = "out") -> Iterator[Path]:
    """Yield all paths in a command's options, groups included, but the field `besides`."""
    for entry in fields(options):
        if entry.name == besides:
            continue
        value = getattr(options, entry.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path):
                yield one
            elif isinstance(one, str) and one and entry.name.startswith("checkpoint"):
                yield Path(one)
            elif is_dataclass(one):
                yield from paths_among(one, besides=besides)


def _holds(folder: Path, signs: Iterable[str]) -> bool:
    return any((folder / name).exists() for name in signs)
