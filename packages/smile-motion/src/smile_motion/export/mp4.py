"""Clips as mp4 and JSON, side by side."""

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
    """`clip_000000.mp4` and `clip_000000.json`: the plan, and what is true of it."""

    lossless: bool = False
    """Keep every bit of the pixels."""
    rate_hz: float = 8.0
    """Frames a second of the written video."""

    suffixes: ClassVar[Mapping[str, str]] = {"video": "mp4"}

    def write_files(self, clip: NumberedClip, paths: Mapping[str, Path]) -> None:
        """Write the video."""
        write_video(paths["video"], clip.clip.frames, rate_hz=self.rate_hz, lossless=self.lossless)


def encode_video(frames: np.ndarray, *, rate_hz: float, lossless: bool) -> bytes:
    """Bytes of the mp4 that `write_video` writes; arguments as there."""
    # The muxer reads what it has written when it moves the index to the front, so it needs a file.
    with tempfile.TemporaryDirectory(prefix="smile-motion-") as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames, rate_hz=rate_hz, lossless=lossless)
        return path.read_bytes()
