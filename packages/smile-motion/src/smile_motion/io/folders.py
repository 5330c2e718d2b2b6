"""Searching folders of data, and the user's cache folder."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path, PurePath

_LOGGER = logging.getLogger(__name__)
_NEVER_DATA = frozenset({"__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
"""Folders that operating systems and archivers create among data."""


def is_data(path: PurePath | str) -> bool:
    """Whether no part of a relative path is hidden (`._clip.mp4`, `.ipynb_checkpoints`) or made by
    an operating system (`__MACOSX`)."""
    return not any(part.startswith(".") or part in _NEVER_DATA for part in PurePath(path).parts)


def find_files(folder: Path, endings: Collection[str], *, nested: bool = True) -> list[Path]:
    """Find the files below a folder that have one of some suffixes, in upper or lower case.

    Links to folders are followed; a folder that is reached by several paths is searched once, by
    its own path if that lies below `folder`. Broken links are left out with a logged warning.

    Args:
        folder: Folder to search.
        endings: Suffixes in lower case, such as `.mp4`.
        nested: Search subfolders as well.

    Returns:
        Paths of the files, sorted.

    Raises:
        OSError: A folder cannot be read.
    """
    found: list[Path] = []
    dead: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    links: list[Path] = []
    ends = tuple(endings)
    while waiting or links:
        place = waiting.pop() if waiting else links.pop(0)
        state = place.stat()
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        for entry in _entries(place):
            path = place / entry.name
            if entry.is_dir():
                if nested:
                    (links if entry.is_symlink() else waiting).append(path)
            elif entry.name.lower().endswith(ends):
                if entry.is_file():
                    found.append(path)
                elif entry.is_symlink():
                    dead.append(path)
        links.sort()
    if dead:
        _LOGGER.warning(
            "%s: %d links lead to nothing and are left out, such as %s",
            *(folder, len(dead), min(dead)),
        )
    return sorted(found)


def find_folders(folder: Path) -> list[Path]:
    """Find the subfolders of a folder that can hold data, links included, sorted.

    Raises:
        OSError: The folder cannot be read.
    """
    return sorted(folder / entry.name for entry in _entries(folder) if entry.is_dir())


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_data(entry.name):
                yield entry


NAME = "smile-motion"
"""Name of our folder in the system's cache folder."""
CACHE_VARIABLE = "SMILE_CACHE"
"""Environment variable with the path of the cache; default: `smile-motion` in the system's cache
folder, such as `~/.cache`."""


def cache_folders() -> list[Path]:
    """Folders that finished files may be in: the user's cache, and its temporary substitute."""
    chosen, substitute = _chosen(), _substitute()
    folders = [] if chosen is None else [chosen]
    return [*folders, substitute] if _is_own(substitute) else folders


@lru_cache(maxsize=1)
def writable_cache() -> Path:
    """Return the user's cache, or a temporary folder if the cache cannot be written.

    Containers and batch systems have home folders that are read-only, missing, or without file
    locks. A logged warning names the substitute once.
    """
    chosen, substitute = _chosen(), _substitute()
    problem = "no home" if chosen is None else _obstacle(chosen)
    if chosen is not None and problem is None:
        return chosen
    if _obstacle(substitute) is not None or not _is_own(substitute):
        substitute = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    place = f"the cache {chosen}" if chosen is not None else "a cache"
    _LOGGER.warning(
        "%s cannot be used (%s); %s is, unless %s names another folder",
        *(place, problem, substitute, CACHE_VARIABLE),
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

    try:
        path = platformdirs.user_cache_path(NAME, appauthor=False)
    except RuntimeError:  # A number without a name has no home, as in containers.
        return None
    return path if path.is_absolute() else None  # A user without a home keeps its "~".


def _substitute() -> Path:
    return Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"


def _obstacle(folder: Path) -> str | None:
    """Return why a folder cannot be created, written or locked; None if it can."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _is_own(folder: Path) -> bool:
    """Whether a folder exists that no other user could have written to."""
    try:
        there = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid() and not there.st_mode & 0o022
