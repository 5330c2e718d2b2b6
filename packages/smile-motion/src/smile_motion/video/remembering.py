"""Video indexes that a process remembers, so that a video is demultiplexed once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from smile_motion.video.index import VideoIndex, index_video
from smile_motion.video.tar import locate

OPEN_INDEXES = 256
"""How many: a minute of video takes about 15 KB."""


def open_index(path: Path) -> VideoIndex:
    """Index a video, or remember its index while the file that holds it stays as it was.

    path  of a video or of one in a tar.
    Raises InputError as `index_video` does.
    """
    span = locate(path)
    if span is None:
        return index_video(path)  # It says what is wrong.
    state = span.file.stat()
    return _open_index(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=OPEN_INDEXES)
def _open_index(path: Path, _mtime_ns: int, _size: int) -> VideoIndex:
    """Index a video; one whose file has changed since is another key."""
    return index_video(path)
