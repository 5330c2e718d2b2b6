"""Clips as folders of PNG files: frames and id masks as in DAVIS."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smile_motion.export.base import ClipFolders, NumberedClip
from smile_motion.io.images import encode_png


@dataclass(frozen=True, kw_only=True)
class Frames(ClipFolders):
    """`clip_000000/frames/00000.png`, `ids/00000.png` and `clip.json`.

    The value of a mask is the visible object's slot + 1, or 0 for the background.
    """

    contents: ClassVar[str] = (
        "`clip_000000/frames/00000.png`, `ids/00000.png` (slot + 1 of the visible object, 0 "
        "for the background; palette of DAVIS) and `clip.json`, with plan and truth: a folder "
        "a clip."
    )

    def encode(self, clip: NumberedClip) -> Mapping[str, bytes]:
        """Encode the frames and id masks of a clip."""
        masks = {
            f"ids/{FRAME_NAME.format(t)}.png": encode_ids(ids)
            for t, ids in enumerate(clip.clip.truth.ids)
        }
        return frame_files(clip.clip.frames) | masks


FRAME_NAME = "{:05d}"
"""Stem of a frame's file, as in DAVIS and YouTube-VIS."""


def frame_files(frames: np.ndarray) -> dict[str, bytes]:
    """Encode (T, H, W, 3) uint8 RGB frames as PNG, by file name."""
    return {
        f"frames/{FRAME_NAME.format(t)}.png": encode_png(frame) for t, frame in enumerate(frames)
    }


def encode_ids(ids: np.ndarray) -> bytes:
    """Encode an id mask, (H, W) uint8, as PNG with the palette of PASCAL VOC and DAVIS.

    Pillow reads the ids themselves; OpenCV reads the colors of the palette.
    """
    from PIL import Image

    image = Image.fromarray(ids)
    image.putpalette(_PALETTE.tobytes())
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def _voc_palette() -> np.ndarray:
    """Palette of PASCAL VOC, (256, 3) uint8: the bits of an id dealt to red, green and blue."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1]
    padded = np.concatenate([bits, np.zeros((256, 1), np.uint8)], axis=1).reshape(256, 3, 3)
    shifts = np.array([7, 6, 5], np.uint8)
    return (padded << shifts[None, :, None]).sum(axis=1).astype(np.uint8)


_PALETTE = _voc_palette()
