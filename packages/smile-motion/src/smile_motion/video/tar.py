"""Files inside tar archives, read in place: `shards/0.tar/clip.mp4` is a valid path."""

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
    """Whether a path has the suffix of an archive."""
    return path.suffix.lower() == ARCHIVE


@dataclass(frozen=True)
class Span:
    """A range of bytes: a whole file, or a member of an archive."""

    file: Path
    """The file on disk."""
    start: int
    """Offset of the first byte."""
    size: int
    """Number of bytes."""

    @property
    def url(self) -> str:
        """Address for FFmpeg; the prefix `file:` allows paths with a colon."""
        if not is_archive(self.file):
            return f"file:{self.file}"
        return f"subfile,,start,{self.start},end,{self.start + self.size},,:file:{self.file}"


def locate(path: Path) -> Span | None:
    """Find the bytes of a path; None if there is no such file or member.

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
    """Whether the file exists; False, not an error, for text too long to be a path."""
    return os.path.isfile(path)  # noqa: PTH113


def members(archive: Path) -> dict[str, tuple[int, int]]:
    """List the files of an archive, without links.

    Returns:
        Offset and size of each file, bytes, by name, in the archive's order.

    Raises:
        InputError: The file is not an uncompressed tar, is truncated, or has a member whose name
            leads out of it.
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
