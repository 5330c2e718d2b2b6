"""The one walk over folders of data: sorted, through links, past what is never data."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath

_NEVER_DATA = frozenset({"__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
"""Folders that systems and archivers leave among data."""


def is_data(path: PurePath | str) -> bool:
    """Whether no part of a relative path is hidden (`._clip.mp4`, `.ipynb_checkpoints`) or a
    system's own (`__MACOSX`)."""
    return not any(part.startswith(".") or part in _NEVER_DATA for part in PurePath(path).parts)


def find_files(folder: Path, endings: Collection[str], *, nested: bool = True) -> list[Path]:
    """Find the files below a folder whose names end in one of some ways, whatever their case.

    Links to folders are followed; a folder that several names lead to is searched once, by its own
    name if that lies below `folder`. Links to nothing are left out, and a line on standard error
    says so.

    endings  in lower case, such as `.mp4`.
    nested   search folders in it as well.
    returns  the files, sorted.
    Raises OSError when a folder cannot be read.
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
        print(
            f"{folder}: {len(dead)} links lead to nothing and are left out, such as {min(dead)}",
            file=sys.stderr,
        )
    return sorted(found)


def find_folders(folder: Path) -> list[Path]:
    """Folders in a folder, and links to some, sorted, without those that are never data.

    Raises OSError when it cannot be read.
    """
    return sorted(folder / entry.name for entry in _entries(folder) if entry.is_dir())


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_data(entry.name):
                yield entry
