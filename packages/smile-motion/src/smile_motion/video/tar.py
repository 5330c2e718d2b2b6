"""Videos inside tar archives, read where they lie: `shards/0.tar/clip.mp4` is a path like any."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from smile_motion.errors import InputError

ARCHIVE = ".tar"
"""Suffix of uncompressed archives, such as WebDataset's shards."""


def is_archive(path: Path) -> bool:
    """Whether a path is named as an archive."""
    return path.suffix.lower() == ARCHIVE


@dataclass(frozen=True)
class Span:
    """The bytes of a file: all of an ordinary one, or a member's part of an archive."""

    file: Path
    """The file on disk."""
    start: int
    """First byte."""
    size: int
    """Bytes."""

    @property
    def url(self) -> str:
        """What FFmpeg opens; `file:` before the path, for those with a colon in them."""
        if not is_archive(self.file):
            return f"file:{self.file}"
        return f"subfile,,start,{self.start},end,{self.start + self.size},,:file:{self.file}"


def locate(path: Path) -> Span | None:
    """Find the bytes that a path names; None where there is no such file or member.

    Raises:
        InputError: The archive cannot be read.
    """
    if _is_file(path):
        return Span(path, 0, path.stat().st_size)
    for archive in path.parents:
        if is_archive(archive) and _is_file(archive):
            found = members(archive).get(path.relative_to(archive).as_posix())
            return Span(archive, *found) if found else None
    return None


def _is_file(path: Path) -> bool:
    """Whether there is such a file; False, not an error, for a line too long to be a name."""
    return os.path.isfile(path)  # noqa: PTH113


def members(archive: Path) -> dict[str, tuple[int, int]]:
    """First byte and size of every file in an archive, by name, in order; links are left out.

    Raises:
        InputError: It is no uncompressed tar, is cut short, or names a file outside itself.
    """
    state = archive.stat()
    return _members(archive, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _members(archive: Path, size: int, changed: int) -> dict[str, tuple[int, int]]:
    found = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                # Before the next header is looked for: with some sizes it is this one, forever.
                if member.size < 0 or (member.isreg() and member.offset_data + member.size > size):
                    raise InputError(f"{archive}: cut short or damaged; copy it again")
                if not member.isfile():
                    continue
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise InputError(
                        f"{archive}: its member {member.name!r} would lie outside it; write it "
                        f"again from inside the folder"
                    )
                found[name.as_posix()] = (member.offset_data, member.size)
    except InputError:
        raise
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{archive}: not a readable, uncompressed tar ({error}); write it again"
        ) from error
    return found
