"""Finding videos: a file, a folder, or a list such as the VideoMAE family trains from."""

from __future__ import annotations

from pathlib import Path

from smile_motion.errors import InputError
from smile_motion.io.file_tree import find_files, is_data
from smile_motion.video.sources import SUFFIXES, ListedVideo, read_list
from smile_motion.video.tar import ARCHIVE, is_archive, members


def find_videos(
    source: str | Path, *, remedy: str = "check --videos", keep_missing: bool = False
) -> list[ListedVideo]:
    """Find the videos that a path means.

    source        a video, a tar of videos, a folder of either (searched to the bottom, sorted,
                  through links, without hidden files), or a list; see `read_list`.
    remedy        what to do where there are none.
    keep_missing  let a list name files that are not there.
    Raises InputError when there are none, or a line names no file.
    """
    source = Path(source)
    if source.is_dir():
        found = []
        for path in find_files(source, (*SUFFIXES, ARCHIVE)):
            found += _videos_in(path) if is_archive(path) else [path]
        if not found:
            raise InputError(
                f"{source}: no video below it (looked for {', '.join(SUFFIXES)}); {remedy}"
            )
        return [ListedVideo(path, None) for path in found]
    if not source.is_file():
        raise InputError(f"{source}: no such file or folder; {remedy}")
    if source.suffix.lower() in SUFFIXES:
        return [ListedVideo(source, None)]
    if is_archive(source):
        found = _videos_in(source)
        if not found:
            raise InputError(f"{source}: no video in it ({', '.join(SUFFIXES)}); {remedy}")
        return [ListedVideo(path, None) for path in found]
    return read_list(source, remedy, keep_missing=keep_missing)


def _videos_in(archive: Path) -> list[Path]:
    return [
        archive / name
        for name in members(archive)
        if Path(name).suffix.lower() in SUFFIXES and is_data(name)
    ]
