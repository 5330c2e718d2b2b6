"""Clips as mp4 files with JSON files beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from smile_motion.export.base import LooseFiles, NumberedClip
from smile_motion.video import write_video


@dataclass(frozen=True, kw_only=True)
class Videos(LooseFiles):
    """`clip_000000.mp4`, and `clip_000000.json` with plan and truth."""

    contents: ClassVar[str] = (
        "`clip_000000.mp4` and `clip_000000.json`, with plan and truth: a pair a clip."
    )

    lossless: bool = False
    """Encode videos losslessly."""
    rate_hz: float = 8.0
    """Frames per second of the videos."""

    suffixes: ClassVar[Mapping[str, str]] = {"video": "mp4"}

    def write_files(self, clip: NumberedClip, paths: Mapping[str, Path]) -> None:
        """Write the video of a clip."""
        write_video(paths["video"], clip.clip.frames, rate_hz=self.rate_hz, lossless=self.lossless)


def encode_video(frames: np.ndarray, *, rate_hz: float, lossless: bool) -> bytes:
    """Encode frames as an mp4 file in memory.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        rate_hz: Frames per second.
        lossless: Keep every bit of the pixels.

    Returns:
        Contents of the file.
    """
    # The muxer needs a file: it reads back what it wrote when it moves the index to the front.
    with tempfile.TemporaryDirectory(prefix="smile-motion-") as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames, rate_hz=rate_hz, lossless=lossless)
        return path.read_bytes()
