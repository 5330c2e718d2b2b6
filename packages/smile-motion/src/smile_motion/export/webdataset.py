"""Clips as tar shards of WebDataset."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from smile_motion.export.base import ClipShard, NumberedClip, Packed
from smile_motion.export.mp4 import encode_video
from smile_motion.video.tar import members

MEMBERS = ("mp4", "ids.npz", "json")
"""Suffixes of a sample's members, in order."""


@dataclass(frozen=True, kw_only=True)
class WebDataset(Packed):
    """`shard-00000.tar` with, for each clip, `clip_000000.mp4`, `.ids.npz` and `.json`.

    `ids` in the NPZ is the id mask, (T, H, W) uint8. Names, times and owners in the tar are fixed,
    so that its bytes depend on its clips alone.
    """

    contents: ClassVar[str] = (
        "`shard-00000.tar` with a clip's `.mp4`, `.ids.npz` (id mask, (T, H, W) uint8) and "
        "`.json`, with plan and truth."
    )

    def file_name(self, shard: ClipShard) -> str:
        """Name of a shard's file."""
        return f"shard-{shard.number:05d}.tar"

    def write_file(self, path: Path, clips: Iterator[NumberedClip]) -> None:
        """Write a shard's file."""
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for clip in clips:
                for suffix, data in zip(MEMBERS, self._encode(clip), strict=True):
                    # Time, owner and mode are TarInfo's defaults, not this machine's.
                    member = tarfile.TarInfo(f"{clip.name}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))

    def read_clips(self, path: Path) -> list[bytes]:
        """Read the JSON of every sample, after checking that all samples are complete."""
        found = members(path)
        names = [name.partition(".") for name in found]
        for start in range(0, len(names), len(MEMBERS)):
            sample = names[start : start + len(MEMBERS)]
            if tuple(name[2] for name in sample) != MEMBERS or len({n[0] for n in sample}) != 1:
                raise ValueError(f"{path}: sample {sample[0][0]} is not whole")
        clips = []
        with path.open("rb") as tar:
            for name, (start, size) in found.items():
                if name.endswith(".json"):
                    tar.seek(start)
                    clips.append(tar.read(size))
        return clips

    def _encode(self, clip: NumberedClip) -> tuple[bytes, ...]:
        ids = io.BytesIO()
        np.savez_compressed(ids, ids=clip.clip.truth.ids)
        video = encode_video(clip.clip.frames, rate_hz=self.rate_hz, lossless=self.lossless)
        return video, ids.getvalue(), clip.json
