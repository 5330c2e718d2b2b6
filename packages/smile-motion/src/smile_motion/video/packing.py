"""Settings of re-encoding videos so that every frame is cheap to read.

reencode(VideoPacking(size=256), Path("bikes.mp4"), Path("bikes.packed.mp4"))  # of `packer`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from smile_motion.errors import InputError
from smile_motion.io.options import FrameRate, Side, Stride, Within, require_within

if TYPE_CHECKING:
    import numpy as np

    from smile_motion.video.index import VideoIndex

PackedCodec = Literal["h264", "mjpeg"]
ENCODERS: dict[PackedCodec, tuple[str, str, str]] = {
    "h264": ("libx264", "yuv420p", "itu601"),
    "mjpeg": ("mjpeg", "yuvj420p", "itu601"),
}
"""FFmpeg's encoder, pixel format and color matrix."""
_QUALITY: dict[PackedCodec, int] = {"h264": 18, "mjpeg": 3}


@dataclass(frozen=True, kw_only=True)
class VideoPacking:
    """Settings of re-encoding, to upright video without sound, in 8 bits and 4:2:0."""

    size: Side = 256
    """Shorter side, pixels; videos that are smaller keep their size. Sides are even."""
    codec: PackedCodec = "h264"
    """`h264`: small; `mjpeg`: larger by two thirds, decoded in less time still."""
    quality: Annotated[int, Within(1, 51)] | None = None
    """H.264: constant rate factor; MJPEG: quantiser, 2 to 31. Lower is better. Default: 18, 3."""
    group: Annotated[int, Within(1, 600)] = 1
    """Frames from one key frame to the next: 1 makes every frame one; 12 makes H.264 smaller and
    slower to read. There are no B-frames."""
    stride: Stride = 1
    """Keep each n-th frame."""
    rate_hz: FrameRate | None = None
    """Keep at most so many frames a second, those that are shown first. Default: all."""

    def __post_init__(self) -> None:
        require_within(self)
        if self.codec == "mjpeg" and self.group > 1:
            raise InputError(
                f"--group is {self.group}: of MJPEG every frame is a key frame; use --codec h264"
            )
        if self.codec == "mjpeg" and not 2 <= (self.quality or 2) <= 31:
            raise InputError(f"--quality is {self.quality}; give 2 to 31 with --codec mjpeg")
        if self.stride > 1 and self.rate_hz is not None:
            raise InputError("--stride and --rate-hz both thin frames out; give one of them")

    @property
    def encoder_quality(self) -> int:
        """Quality that the encoder is given."""
        return _QUALITY[self.codec] if self.quality is None else self.quality

    def require_encoder(self) -> None:
        """Raise InputError if this FFmpeg cannot encode or decode the codec."""
        import av
        from av.codec.codec import UnknownCodecError

        encoder = ENCODERS[self.codec][0]
        other = "mjpeg" if self.codec == "h264" else "h264"
        try:
            av.Codec(encoder, "w")
            av.Codec(self.codec, "r")
        except UnknownCodecError as error:
            raise InputError(
                f"--codec {self.codec}: this FFmpeg lacks {encoder}, or a decoder for it; use "
                f"--codec {other}, or install a PyAV that has both"
            ) from error

    def kept_frames(self, index: VideoIndex) -> np.ndarray:
        """Return the numbers of the source's frames that are packed, (n,) int64 ascending."""
        import numpy as np  # no --help needs it

        if self.rate_hz is None or index.rate_hz <= self.rate_hz:
            return np.arange(0, len(index), self.stride)
        ticks = np.floor(index.times_s[:-1] * self.rate_hz + 1e-6).astype(np.int64)
        return np.flatnonzero(np.diff(ticks, prepend=-1))
