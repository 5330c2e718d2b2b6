"""Clips as folders of PNG: frames, and id masks as DAVIS and its tools have them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from smile_motion.export.base import ClipFolders, NumberedClip


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


FRAME_NAME = "{:05d}"
"""What frames are called, as in DAVIS and YouTube-VIS."""


def frame_files(frames: np.ndarray) -> dict[str, bytes]:
    """Lossless pictures of (T, H, W, 3) uint8 RGB, by name."""
    return {
        f"frames/{FRAME_NAME.format(t)}.png": encode(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        for t, frame in enumerate(frames)
    }


def encode(image: np.ndarray) -> bytes:
    """Encode an image as OpenCV takes it: grey or BGR, uint8 or uint16."""
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 4])[1].tobytes()


def encode_ids(ids: np.ndarray) -> bytes:
    """Encode an id map, (H, W) uint8, with the palette of PASCAL VOC and DAVIS.

    The stored values are the ids, which Pillow gives as they are; OpenCV would give the colours.
    """
    from PIL import Image

    image = Image.fromarray(ids)
    image.putpalette(_PALETTE.tobytes())
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def _voc_palette() -> np.ndarray:
    """(256, 3) uint8: the bits of an id, dealt to red, green and blue, highest bit first."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1]
    padded = np.concatenate([bits, np.zeros((256, 1), np.uint8)], axis=1).reshape(256, 3, 3)
    shifts = np.array([7, 6, 5], np.uint8)
    return (padded << shifts[None, :, None]).sum(axis=1).astype(np.uint8)


_PALETTE = _voc_palette()
