"""Optical flow as Middlebury's `.flo` files or as PNG files of KITTI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from smile_motion.export.base import ClipFolders, NumberedClip, require_rigid
from smile_motion.export.png_folders import FRAME_NAME, frame_files
from smile_motion.io.images import encode_png

if TYPE_CHECKING:
    from smile_motion.clips.clip import ClipMaker

FLO_MAGIC = np.float32(202021.25)
"""Magic number of a `.flo` file."""
FLO_UNKNOWN = np.float32(1e10)
"""Unknown flow; readers treat values above 1e9 as unknown."""
KITTI_SCALE, KITTI_ZERO = 64, 2**15
"""Steps per pixel of flow, and the value of zero flow, in 16 bits: -512 to 512 pixels."""


@dataclass(frozen=True, kw_only=True)
class FlowFiles(ClipFolders):
    """`frames/00000.png`; `flow/00000.flo` or `.png`, from frame 0 to 1; `occluded/00000.png`.

    `occluded` is 255 where the point is covered or outside in the next frame. The flow of a static
    background is 0, or the camera's; that of a moving one is unknown. Animated objects are refused.
    """

    contents: ClassVar[str] = (
        "`clip_000000/frames/00000.png`; `flow/00000.flo` or `.png`, from frame 0 to 1; "
        "`occluded/00000.png`; `clip.json`, with plan and truth: a folder a clip."
    )

    encoding: Literal["flo", "kitti"]
    """Middlebury's floats, or PNG in steps of 1/64 px with a channel of validity."""

    def require_fitting(self, maker: ClipMaker) -> None:
        """Raise InputError where clips show animated objects, whose flow is unknown."""
        require_rigid(maker, "flow")

    def encode(self, clip: NumberedClip) -> Mapping[str, bytes]:
        """Encode the frames, flow and occlusion of a clip."""
        self.require_fitting(clip.maker)
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
            files[f"occluded/{name}.png"] = encode_png(flow.occluded[t].astype(np.uint8) * 255)
        return files


def encode_flo(vectors: np.ndarray, known: np.ndarray) -> bytes:
    """Encode flow as `.flo`: magic, width, height, then u, v of every pixel, little endian.

    Args:
        vectors: (H, W, 2) float32 flow, pixels, x then y.
        known: (H, W) bool; other pixels are written as `FLO_UNKNOWN`.
    """
    height, width = known.shape
    head = FLO_MAGIC.astype("<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    return head + np.where(known[..., None], vectors, FLO_UNKNOWN).astype("<f4").tobytes()


def encode_kitti(vectors: np.ndarray, known: np.ndarray) -> bytes:
    """Encode flow as a KITTI PNG: u, v and validity as red, green and blue of 16 bits.

    Args:
        vectors: (H, W, 2) float32 flow, pixels, x then y; values beyond -512 to 512 are unknown.
        known: (H, W) bool, validity.
    """
    steps = np.rint(vectors.astype(np.float64) * KITTI_SCALE) + KITTI_ZERO
    valid = known & ((steps >= 0) & (steps < 2**16)).all(axis=2)
    stored = np.where(valid[..., None], steps, 0).astype(np.uint16)
    return encode_png(np.dstack([stored, valid.astype(np.uint16)]))
