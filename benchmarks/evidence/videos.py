"""Small videos that decode fast."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from smile_motion.io.files import replacing


def write_small_video(
    path: Path, frames: np.ndarray, *, rate_hz: int = 16, crf: int = 29, gop: int = 32
) -> None:
    """Write H.264 without B-frames and in-loop filter; the same frames give the same bytes.

    Args:
        frames: (T, H, W, 3) uint8 RGB, sides even.
        gop: Frames from one key frame to the next.
    """
    import av

    options = {
        "crf": str(crf),
        "preset": "medium",
        "tune": "fastdecode",
        "mbtree": "0",
        "bf": "0",
        "g": str(gop),
        "threads": "1",
    }
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate_hz), options=options)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
