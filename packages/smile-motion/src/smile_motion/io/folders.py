"""Where things lie that are made once for all of a user's projects."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

NAME = "smile-motion"
"""Name of the folder within the system's folder of caches."""
CACHE_VARIABLE = "SMILE_CACHE"
"""Environment variable naming the cache; the system's place for it by default, such as
`~/.cache/smile-motion`."""


def cache_folders() -> list[Path]:
    """Where finished things may lie: the user's cache, and what may have taken its place."""
    chosen, substitute = _chosen(), _substitute()
    folders = [] if chosen is None else [chosen]
    return [*folders, substitute] if _is_own(substitute) else folders


@lru_cache(maxsize=1)
def writable_cache() -> Path:
    """The user's cache, or a temporary folder where it cannot be written, which is said once.

    Containers and batch systems have homes that are read-only, missing, or without locks.
    """
    chosen, substitute = _chosen(), _substitute()
    problem = "no home" if chosen is None else _obstacle(chosen)
    if chosen is not None and problem is None:
        return chosen
    if _obstacle(substitute) is not None or not _is_own(substitute):
        substitute = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    place = f"the cache {chosen}" if chosen is not None else "a cache"
    print(
        f"{place} cannot be used ({problem}); {substitute} is, "
        f"unless {CACHE_VARIABLE} names another folder",
        file=sys.stderr,
    )
    os.environ[CACHE_VARIABLE] = str(substitute)  # for the processes of this one, without a word
    return substitute


def _chosen() -> Path | None:
    if named := os.environ.get(CACHE_VARIABLE):
        try:
            return Path(named).expanduser().absolute()
        except RuntimeError:  # "~" of a user without a home
            return None
    import platformdirs

    path = platformdirs.user_cache_path(NAME, appauthor=False)
    return path if path.is_absolute() else None  # A user without a home keeps its "~".


def _substitute() -> Path:
    return Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"


def _obstacle(folder: Path) -> str | None:
    """What keeps a folder from being made, written, or locked; None: nothing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _is_own(folder: Path) -> bool:
    """Whether a folder is there into which nobody else can have put anything."""
    try:
        there = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid() and not there.st_mode & 0o022
