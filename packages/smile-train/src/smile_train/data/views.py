"""Frames and crops that clips of labeled videos show.

dense, stride 2     . . . . x . x . x . x . . .      a stretch of the video, training: anywhere
uniform             . x . . . x . x . . . . x .      one frame of each equal part of the video
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from smile_motion.errors import InputError
from smile_motion.io.images import cut
from smile_motion.video import VideoIndex

from smile_train.datasets import LabeledVideo

Sampling = Literal["dense", "uniform"]


@dataclass(frozen=True, kw_only=True)
class TestViews:
    """The views that a video's scores are averaged over: segments x crops of each."""

    __test__ = False

    segments: int = 1
    """Clips along time."""
    crops: int = 1
    """Squares along the longer side, from one end to the other; 1 is the center."""

    def __post_init__(self) -> None:
        if self.segments < 1 or self.crops < 1:
            raise InputError(
                f"{self.segments} x {self.crops} views; give at least 1 segment and 1 crop"
            )

    def __str__(self) -> str:
        return f"{self.segments}x{self.crops}"


def frame_range(index: VideoIndex, video: LabeledVideo) -> tuple[int, int]:
    """First frame of a sample, and the frame after its last.

    Raises:
        InputError: Its span lies outside the file.
    """
    span = video.span
    if span is None:
        return 0, len(index)
    # Times mean the frames that are nearest to them, however unevenly frames are shown.
    places = index.times_s if span.unit == "s" else np.arange(len(index) + 1)
    middles = (places[1:] + places[:-1]) / 2
    first, end = np.searchsorted(middles, (span.begin, span.end)).tolist()
    if first == len(index) or span.end < 0:
        raise InputError(
            f"{video.path}: has {places[-1]:.5g} {span.unit}, sample {video.key} is at "
            f"{span.begin:.5g} to {span.end:.5g} {span.unit}; another version of the video?"
        )
    return first, max(first + 1, end)


def training_frames(
    count: int, *, frames: int, stride: int, sampling: Sampling, rng: np.random.Generator
) -> np.ndarray:
    """Draw a clip's frames (VideoMAE family).

    Args:
        count: Frames of the sample; where they are too few for the stride, those of the clip are
            spread evenly over all of them.
        frames: Frames T of the clip.
        stride: Sample frames from one clip frame to the next, where sampling is dense.
        sampling: A stretch of the sample, or one frame of each of its equal parts.
        rng: Draws the stretch, or the frame of each part.

    Returns:
        (frames,) int64, ascending, each below `count`.
    """
    if sampling == "dense":
        span = stride * (frames - 1) + 1
        first = int(rng.integers(max(count - span, 0) + 1))
        return first + _steps(count, frames=frames, stride=stride)
    part = count / frames
    places = part * np.arange(frames) + part * rng.random(frames)
    return np.minimum(places.astype(np.int64), count - 1)


def clip_frames(
    count: int, *, frames: int, stride: int, sampling: Sampling, segments: int
) -> np.ndarray:
    """Choose the frames of a video's test clips.

    Returns:
        (segments, frames) int64: dense clips evenly spaced from the first to the last possible
        start, a single one in the middle; uniform ones offset by equal shares of a part. Dense
        clips of a video that is too short for the stride are spread evenly over it.
    """
    if sampling == "dense":
        room = max(count - (stride * (frames - 1) + 1), 0)
        starts = np.linspace(0, room, segments) if segments > 1 else np.array([room / 2])
        places = starts.astype(np.int64)[:, None] + _steps(count, frames=frames, stride=stride)
    else:
        part = count / frames
        offsets = part * (np.arange(segments) + (0.5 if segments == 1 else 0)) / segments
        places = (part * np.arange(frames) + offsets[:, None]).astype(np.int64)
    return np.minimum(places, count - 1)


def _steps(count: int, *, frames: int, stride: int) -> np.ndarray:
    """Frames of a dense clip from its first, (frames,) int64, all below `count`."""
    if stride * (frames - 1) < count:
        return stride * np.arange(frames)
    return np.rint(np.linspace(0, count - 1, frames)).astype(np.int64)


def square_crops(images: np.ndarray, size: int, crops: int) -> np.ndarray:
    """Cut squares along the longer side.

    Args:
        images: (n, H, W, 3) uint8.

    Returns:
        (crops, n, size, size, 3) uint8.
    """
    height, width = images.shape[1:3]
    side = min(height, width)
    room = np.array([width - side, height - side])
    shares = np.linspace(0, 1, crops) if crops > 1 else np.array([0.5])
    corners = [np.rint(room * share).astype(int).tolist() for share in shares]
    return np.stack([cut(images, (x, y, side, side), (size, size)) for x, y in corners])
