"""Optical flow as files that flow tools read: Middlebury's `.flo`, and PNG as in KITTI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from smile_motion.export.base import ClipFolders, NumberedClip
from smile_motion.export.png_folders import FRAME_NAME, encode, frame_files

FLO_MAGIC = np.float32(202021.25)
"""What a `.flo` begins with."""
FLO_UNKNOWN = np.float32(1e10)
"""Flow that is not known; readers take all above 1e9 as such."""
KITTI_SCALE, KITTI_ZERO = 64, 2**15
"""A pixel of flow, and none at all, in a PNG's 16 bits: -512 to 512 pixels."""


@dataclass(frozen=True, kw_only=True)
class FlowFiles(ClipFolders):
    """`frames/00000.png`, `flow/00000.flo` or `.png` from frame 0 to 1, and so on;
    `occluded/00000.png`: 255 where the point is covered or outside in the next frame.

    The flow of the background is 0 where it is still, and unknown where it is not.
    """

    encoding: Literal["flo", "kitti"]
    """Middlebury's floats, or PNG in steps of 1/64 px with a channel of what is known."""

    def encode(self, clip: NumberedClip) -> Mapping[str, bytes]:
        """Encode frames, flow and occlusion."""
        flow = clip.clip.truth.flow()
        known = clip.clip.truth.ids[:-1] > 0
        if clip.maker.background.is_static:
            known[:] = True
        files = frame_files(clip.clip.frames)
        for t, vectors in enumerate(flow.vectors):
            name = FRAME_NAME.format(t)
            if self.encoding == "flo":
                files[f"flow/{name}.flo"] = encode_flo(vectors, known[t])
            else:
                files[f"flow/{name}.png"] = encode_kitti(vectors, known[t])
            files[f"occluded/{name}.png"] = encode(flow.occluded[t].astype(np.uint8) * 255)
        return files


def encode_flo(vectors: np.ndarray, known: np.ndarray) -> bytes:
    """Middlebury's form: magic, width, height, then u, v of every pixel, little endian.

    Args:
        vectors: (H, W, 2) float32, pixels, x then y.
        known: (H, W) bool; elsewhere `FLO_UNKNOWN` is written.
    """
    height, width = known.shape
    head = FLO_MAGIC.astype("<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    return head + np.where(known[..., None], vectors, FLO_UNKNOWN).astype("<f4").tobytes()


def encode_kitti(vectors: np.ndarray, known: np.ndarray) -> bytes:
    """KITTI's form: u, v and whether they are known as red, green and blue of 16 bits.

    Args:
        vectors: (H, W, 2) float32, pixels, x then y; what is beyond -512 to 512 counts as unknown.
        known: (H, W) bool.
    """
    steps = np.rint(vectors.astype(np.float64) * KITTI_SCALE) + KITTI_ZERO
    valid = known & ((steps >= 0) & (steps < 2**16)).all(axis=2)
    stored = np.where(valid[..., None], steps, 0).astype(np.uint16)
    red_green_blue = np.dstack([stored, valid.astype(np.uint16)])
    return encode(cv2.cvtColor(red_green_blue, cv2.COLOR_RGB2BGR))
