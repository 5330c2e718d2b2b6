"""Clips of videos that figures are made of: the middle of each video, one clip a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from smile_motion.errors import InputError
from smile_motion.io.images import cut
from smile_motion.runtime.tasks import map_in_threads
from smile_motion.tokens import TokenGrid
from smile_motion.video import SUFFIXES, find_videos, index_video
from smile_motion.video.frames import FrameReader

from smile_train.config.run import Decoder
from smile_train.data.decoders import reader_of, settle_decoder
from smile_train.data.views import Sampling, clip_frames

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
    decoder: Decoder = "auto"
    """What decodes the videos."""

    def paths(self) -> list[Path]:
        """The files.

        Raises:
            InputError: There are none, or --limit leaves none.
        """
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit is {self.limit}; give 1 or more")
        if self.stride < 1:
            raise InputError(f"--stride is {self.stride}; give 1 or more")
        return [video.path for video in find_videos(self.videos)][: self.limit]

    def read(self, grid: TokenGrid, *, workers: int = 2) -> Iterator[ShownClip]:
        """Decode the clips that an encoder takes, in order, with some threads ahead.

        Raises:
            InputError: A video cannot be read.
        """
        paths = self.paths()
        reads = len(paths)
        decoder, _ = settle_decoder(
            *(self.decoder, paths), frames=grid.frames, stride=self.stride, reads=reads
        )
        reader = reader_of(decoder)
        names = dict(zip(paths, short_names([str(path) for path in paths]), strict=True))
        yield from map_in_threads(
            lambda path: self._open(path, names[path], grid, reader),
            paths,
            threads=max(1, workers),
            ahead=2,
        )

    def _open(self, path: Path, name: str, grid: TokenGrid, reader: FrameReader) -> ShownClip:
        index = index_video(path)
        places = clip_frames(
            len(index),
            frames=grid.frames,
            stride=self.stride,
            sampling=self.sampling,
            segments=1,
        )[0]
        distinct, where = np.unique(places, return_inverse=True)
        images = cut_middle(reader(index, distinct), (grid.height, grid.width))
        step = self.stride if self.sampling == "dense" else max(1.0, len(index) / grid.frames)
        return ShownClip(name=name, frames=images[where], rate_hz=index.rate_hz / step)


def cut_middle(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut the largest middle part of the asked shape, and resize it.

    Args:
        images: (n, H, W, 3) uint8; size: height, width.
    """
    height, width = images.shape[1:3]
    scale = min(height / size[0], width / size[1])
    part_h = min(height, max(1, round(scale * size[0])))
    part_w = min(width, max(1, round(scale * size[1])))
    corner = (width - part_w) // 2, (height - part_h) // 2
    return cut(images, (*corner, part_w, part_h), size)


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of paths, as many as tell all of them apart, and a number where none do.

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
