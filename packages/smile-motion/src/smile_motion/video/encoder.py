"""Encoding of videos, and of animations for pages."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np

from smile_motion.io.files import replacing


def write_video(
    path: str | Path, frames: np.ndarray, *, rate_hz: float = 8.0, lossless: bool = False
) -> None:
    """Write an mp4; the same frames always give the same bytes.

    The file is replaced atomically.

    Args:
        path: Path of the file.
        frames: (T, H, W, 3) uint8 RGB; sides even unless `lossless`.
        rate_hz: Frames per second.
        lossless: RGB H.264, exact to the bit; otherwise H.264 4:2:0 at crf 18, for any player.
    """
    import av

    codec, pixel_format, options = (
        ("libx264rgb", "rgb24", {"qp": "0", "preset": "ultrafast"})
        if lossless
        # The encoder's macroblock tree reads memory that it never wrote: bytes would differ.
        else ("libx264", "yuv420p", {"crf": "18", "preset": "veryfast", "mbtree": "0"})
    )
    start = {"movflags": "faststart"}
    with (
        replacing(Path(path)) as temporary,
        av.open(str(temporary), "w", format="mp4", options=start) as container,
    ):
        rate = Fraction(rate_hz).limit_denominator(1001)
        stream = container.add_stream(codec, rate=rate, options=options | {"threads": "1"})
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = pixel_format
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def encode_animation(frames: np.ndarray, *, rate_hz: float = 8.0, quality: int = 80) -> bytes:
    """Encode an animated WebP that repeats forever.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        rate_hz: Frames per second.
        quality: Quality of the lossy compression, 0 to 100.
    """
    from PIL import Image

    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    target = io.BytesIO()
    pictures[0].save(
        target,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / rate_hz),
        loop=0,
        quality=quality,
        method=2,
    )
    return target.getvalue()
