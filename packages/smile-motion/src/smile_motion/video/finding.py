"""Finding videos: a file, a folder, or a list such as the VideoMAE family trains from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smile_motion.errors import InputError
from smile_motion.video.archives import ARCHIVE, locate, members

SUFFIXES = (
    *(".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".ts"),
    *(".flv", ".wmv", ".3gp", ".m2ts", ".mts", ".vob", ".ogv"),
)
"""Files that count as videos when a folder is searched."""


@dataclass(frozen=True)
class ListedVideo:
    """A video as a list or a folder names it."""

    path: Path
    """The file, or a member of a tar archive as if that were a folder."""
    label: str | None
    """What follows the path in a list, if anything."""
    there: bool = True
    """Whether the file is there."""


def find_videos(
    source: str | Path, *, remedy: str = "check --videos", keep_missing: bool = False
) -> list[ListedVideo]:
    """Find the videos that a path means.

    source        a video, a tar of videos, a folder of either (searched to the bottom, sorted), or
                  a list with lines `path`, `path label` or `path,label`; relative paths start at
                  the list's folder, and may lead into a tar.
    remedy        what to do where there are none.
    keep_missing  let a list name files that are not there.
    Raises InputError when there are none, or a line names no file.
    """
    source = Path(source)
    if source.is_dir():
        found = []
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                found.append(path)
            elif path.suffix == ARCHIVE and path.is_file():
                found += _videos_in(path)
        if not found:
            raise InputError(
                f"{source}: no video below it (looked for {', '.join(SUFFIXES)}); {remedy}"
            )
        return [ListedVideo(path, None) for path in found]
    if not source.is_file():
        raise InputError(f"{source}: no such file or folder; {remedy}")
    if source.suffix.lower() in SUFFIXES:
        return [ListedVideo(source, None)]
    if source.suffix == ARCHIVE:
        found = _videos_in(source)
        if not found:
            raise InputError(f"{source}: no video in it ({', '.join(SUFFIXES)}); {remedy}")
        return [ListedVideo(path, None) for path in found]
    return _read_list(source, remedy, keep_missing)


def _videos_in(archive: Path) -> list[Path]:
    return [archive / name for name in members(archive) if Path(name).suffix.lower() in SUFFIXES]


def _read_list(source: Path, remedy: str, keep_missing: bool) -> list[ListedVideo]:
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}: neither a video ({', '.join(SUFFIXES)}) nor a text list; {remedy}"
        ) from error
    videos = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, label = _split_line(line.strip(), source.parent)
        if path is None and keep_missing:
            videos.append(_guess_line(line.strip(), source.parent))
            continue
        if path is None:
            raise InputError(
                f"{source}:{number}: {line.strip()}: names no file; "
                f"correct the line, or give paths relative to {source.parent}"
            )
        videos.append(ListedVideo(path, label))
    if not videos:
        raise InputError(f"{source}: an empty list; write a line per video: path label")
    return videos


def _split_line(line: str, folder: Path) -> tuple[Path | None, str | None]:
    """Take the longest leading part of a line that names a file; the rest is the label."""
    cuts = [len(line)]
    cuts += [at for at in range(len(line) - 1, 0, -1) if line[at] in " \t,"]
    for cut in cuts:
        path = folder / line[:cut].rstrip(" \t,").strip('"')
        if locate(path) is not None:
            return path, line[cut:].strip(" \t,") or None
    return None, None


def _guess_line(line: str, folder: Path) -> ListedVideo:
    """Split a line that names no file: after a video's ending, else before the last word."""
    cuts = [at for at, letter in enumerate(line) if letter in " \t,"]
    named = [at for at in (*cuts, len(line)) if line[:at].strip('"').lower().endswith(SUFFIXES)]
    cut = named[0] if named else cuts[-1] if cuts else len(line)
    path = folder / line[:cut].rstrip(" \t,").strip('"')
    return ListedVideo(path, line[cut:].strip(" \t,") or None, there=False)
