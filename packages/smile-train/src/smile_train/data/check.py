"""Check that the videos of a list can be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from smile_motion.errors import InputError
from smile_motion.runtime.workers import run_in_processes
from smile_motion.video import ListedVideo, index_video, read_frames

CHUNK = 8
"""Videos handed to a process at a time."""
PROBES = 3
"""Frames that are decoded of a video, evenly spaced from the first to the last."""


@dataclass(frozen=True, kw_only=True)
class CheckedVideo:
    """What was found of one video."""

    path: Path
    """The file."""
    frames: int
    """Frames; 0 of a broken video."""
    rate_hz: float
    """Average frame rate; 0 of a broken video."""
    width: int
    """Pixels; 0 of a broken video."""
    height: int
    """Pixels; 0 of a broken video."""
    lost: int = 0
    """Frames that the file has a part of and that cannot be decoded."""
    fault: str | None
    """What is wrong with it, if anything."""


def check_video(path: Path, *, every_frame: bool = False) -> CheckedVideo:
    """Index a video and decode some of its frames, or all."""
    try:
        index = index_video(path)
        wanted = np.arange(len(index))
        if not every_frame:
            wanted = np.unique(np.linspace(0, len(index) - 1, PROBES).round().astype(int))
        height = width = 0
        for start in range(0, len(wanted), 64):
            height, width = read_frames(index, wanted[start : start + 64]).shape[1:3]
        return CheckedVideo(
            path=path,
            frames=len(index),
            rate_hz=index.rate_hz,
            width=width,
            height=height,
            lost=index.lost,
            fault=None,
        )
    except InputError as error:
        return CheckedVideo(path=path, frames=0, rate_hz=0, width=0, height=0, fault=str(error))


def check_videos(
    videos: list[ListedVideo], *, every_frame: bool = False, workers: int = 0
) -> Iterator[CheckedVideo]:
    """Check videos over processes, in order."""
    work = partial(check_listed, videos, every_frame)
    numbers = range(len(videos))
    early: dict[int, CheckedVideo] = {}
    following = 0
    for number, video in run_in_processes(work, numbers, workers=workers, chunk=CHUNK):
        early[number] = video
        while following in early:
            yield early.pop(following)
            following += 1


def check_listed(videos: list[ListedVideo], every_frame: bool, number: int) -> CheckedVideo:
    """Check one of a list."""
    return check_video(videos[number].path, every_frame=every_frame)
