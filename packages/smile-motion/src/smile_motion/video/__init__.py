"""Videos: searching, reading by exact frame number, and writing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smile_motion.video.encoder import encode_animation, write_video
    from smile_motion.video.frames import read_frames
    from smile_motion.video.index import VideoIndex, index_video, open_index
    from smile_motion.video.sources import SUFFIXES, ListedVideo, find_videos

__all__ = [
    "SUFFIXES",
    "ListedVideo",
    "VideoIndex",
    "encode_animation",
    "find_videos",
    "index_video",
    "open_index",
    "read_frames",
    "write_video",
]

_HOMES = {
    "SUFFIXES": "sources",
    "ListedVideo": "sources",
    "VideoIndex": "index",
    "encode_animation": "encoder",
    "find_videos": "sources",
    "index_video": "index",
    "open_index": "index",
    "read_frames": "frames",
    "write_video": "encoder",
}


def __dir__() -> list[str]:
    """Return the public names, whether they have been imported yet or not."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: who lists videos needs no decoder."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"smile_motion.video.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'smile_motion.video' has no attribute {name!r}")
