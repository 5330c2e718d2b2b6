"""Clips of videos that figures are made of, and the options of the commands that draw them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from smile_motion.errors import InputError
from smile_motion.io.images import cut
from smile_motion.io.options import Count, Heads, Stride, Threads
from smile_motion.tokens import TokenGrid
from smile_motion.video import SUFFIXES, find_videos, index_video, read_frames

from smile_train.data.views import Sampling, clip_frames

if TYPE_CHECKING:
    from smile_train.encoders.video_encoder import VideoEncoder


_NAMED_WITHOUT = (*SUFFIXES, ".pth", ".pt", ".bin", ".safetensors")
"""Endings of files that names leave out; `runs/v1.5` keeps its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownClip:
    """What an encoder is shown of a video."""

    name: str
    """The file's name, with what tells it from others of that name."""
    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB."""
    rate_hz: float
    """Clip frames a second of the video."""


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """Videos and which frames of them."""

    videos: Path
    """A video, a folder or a list, as `find_videos` takes."""
    limit: int | None = None
    """Most videos, the first ones. None for all."""
    stride: int = 4
    """Video frames from one clip frame to the next, where sampling is dense."""
    sampling: Sampling = "dense"
    """A stretch from the video's middle, or one frame of each of its equal parts."""

    def paths(self) -> list[Path]:
        """The files.

        Raises InputError when there are none, or --limit leaves none.
        """
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit is {self.limit}; give 1 or more")
        if self.stride < 1:
            raise InputError(f"--stride is {self.stride}; give 1 or more")
        return [video.path for video in find_videos(self.videos)][: self.limit]

    def read(self, grid: TokenGrid, *, workers: int = 2) -> Iterator[ShownClip]:
        """Decode the clips that an encoder takes, in order, with some threads ahead.

        Raises InputError when a video cannot be read.
        """
        paths = self.paths()
        names = dict(zip(paths, short_names([str(path) for path in paths]), strict=True))
        with ThreadPoolExecutor(max(1, workers)) as pool:
            pending: deque[Future[ShownClip]] = deque()
            for path in paths:
                pending.append(pool.submit(self._open, path, names[path], grid))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _open(self, path: Path, name: str, grid: TokenGrid) -> ShownClip:
        index = index_video(path)
        places = clip_frames(
            len(index),
            frames=grid.frames,
            stride=self.stride,
            sampling=self.sampling,
            segments=1,
        )[0]
        distinct, where = np.unique(places, return_inverse=True)
        images = cut_middle(read_frames(index, distinct), (grid.height, grid.width))
        step = self.stride if self.sampling == "dense" else max(1.0, len(index) / grid.frames)
        return ShownClip(name=name, frames=images[where], rate_hz=index.rate_hz / step)


def cut_middle(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut the largest middle part of the asked shape, and resize it.

    images  (n, H, W, 3) uint8; size: height, width.
    """
    height, width = images.shape[1:3]
    scale = min(height / size[0], width / size[1])
    part_h = min(height, max(1, round(scale * size[0])))
    part_w = min(width, max(1, round(scale * size[1])))
    corner = (width - part_w) // 2, (height - part_h) // 2
    return cut(images, (*corner, part_w, part_h), size)


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of paths, as many as tell all of them apart, and a number where none do.

    ::

        runs/first, runs/second       first, second
        a/clip.mp4, b/clip.mp4        a-clip, b-clip
    """
    parts = [
        (path.with_suffix("") if path.suffix.lower() in _NAMED_WITHOUT else path).parts
        for path in map(Path, paths)
    ]
    parts = [tuple(part.strip("/") for part in entry if part != "/") for entry in parts]
    longest = max(map(len, parts))
    for count in range(1, longest + 1):
        names = ["-".join(entry[-count:]) for entry in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[n][-1]}-{n}" for n in range(len(paths))]


def count_videos(count: int) -> str:
    """`1 video`, `2 videos`."""
    return f"{count} video{'s' if count != 1 else ''}"


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """Videos, how clips are taken of them, and where the figure goes."""

    videos: Path
    """A video, a folder, a tar or a list (`path label` lines). One clip of each is shown."""
    out: Path
    """Folder for what is made."""
    limit: Count | None = None
    """Most videos, the first ones. Default: all."""
    stride: Stride = 4
    """Video frames from one clip frame to the next, where sampling is dense. Paper: 4 on K400."""
    sampling: Literal["dense", "uniform"] = "dense"
    """The middle of the video, or one frame of each of its equal parts."""
    heads: Heads | None = None
    """Attention heads of a published file, where they are not the width over 64."""
    workers: Threads = 2
    """Threads that decode videos."""
    cpu_threads: Threads | None = None
    """Threads of an encoder on the CPU. Default: all cores that this process may use, or
    OMP_NUM_THREADS where you set it."""

    @property
    def source(self) -> ClipSource:
        """The clips."""
        from smile_train.evaluation.figures.clips import ClipSource

        return ClipSource(
            videos=self.videos, limit=self.limit, stride=self.stride, sampling=self.sampling
        )

    def open_encoder(self, checkpoint: str) -> VideoEncoder:
        """Open an encoder on the fastest device that is there.

        Raises InputError when there is none at that place.
        """
        from smile_motion.runtime.devices import choose_device

        from smile_train.config.machine import use_cores
        from smile_train.encoders.video_encoder import load

        use_cores(self.cpu_threads)
        return load(checkpoint, heads=self.heads).to(choose_device("auto"))

    def read_clips(self, encoder: VideoEncoder, what: str) -> Iterator[ShownClip]:
        """Clips as an encoder takes them, with a progress bar that says `what` is done with them.

        Raises InputError when there are none, or one cannot be read.
        """
        from smile_motion.runtime.progress import progress_bar

        total = len(self.source.paths())
        with progress_bar() as on_progress:
            for done, clip in enumerate(self.source.read(encoder.grid, workers=self.workers)):
                on_progress(what, done, total)
                yield clip
            on_progress(what, total, total)
