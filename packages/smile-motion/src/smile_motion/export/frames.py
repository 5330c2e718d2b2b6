"""Clips as pictures: frames, and id masks as DAVIS and its tools have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smile_motion.export.base import ClipFolders, NumberedClip
from smile_motion.export.png_folders import FRAME_NAME, encode_ids, frame_files


@dataclass(frozen=True, kw_only=True)
class Frames(ClipFolders):
    """`clip_000000/frames/00000.png`, `ids/00000.png` and `clip.json`.

    A mask's value is the object's slot plus one, 0 for the background; what is hidden is not in
    it.
    """

    def encode(self, clip: NumberedClip) -> Mapping[str, bytes]:
        """Encode frames and id maps."""
        masks = {
            f"ids/{FRAME_NAME.format(t)}.png": encode_ids(ids)
            for t, ids in enumerate(clip.clip.truth.ids)
        }
        return frame_files(clip.clip.frames) | masks
