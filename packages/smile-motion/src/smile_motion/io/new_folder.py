"""Folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smile_motion.errors import InputError
from smile_motion.io.output_folders import LOCK, folder_lock

_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)


def require_free(out: Path) -> None:
    """Raise InputError unless `out` is missing or an empty folder."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file is in the way; choose another --out")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: not empty; remove it or choose another --out")


@contextmanager
def new_folder(out: Path, *, resume: bool = False) -> Iterator[Path]:
    """Give a folder to write to, which takes the name `out` at the end.

    resume  keep what an earlier, failed run wrote, and on failure leave what was written.
    Raises InputError when `out` is taken, or another process is writing it.
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
    """Make `target` the same file as `source`: a hard link, or a copy where that cannot be.

    Raises InputError when the source is missing.
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
