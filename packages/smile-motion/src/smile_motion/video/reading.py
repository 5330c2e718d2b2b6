"""Reading videos by exact frame number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smile_motion.errors import InputError
from smile_motion.video.archives import Span, locate

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

LARGEST_SIDE_PX = 8192
"""Videos with a longer side are refused before they are decoded."""
_CONTAINERS = (
    "asf,avi,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,rm,yuv4mpegpipe"
)
_ONE_FILE = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file,subfile"}
"""What holds its own pictures. FFmpeg would also follow play lists to other files and hosts."""
_BOUNDED = {"max_pixels": str(LARGEST_SIDE_PX**2)}
"""For decoders, which may meet larger frames than the header promised."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """Where every frame of a video is, so that frame i means the same in every reader and run."""

    path: Path
    """The file."""
    pts: np.ndarray
    """(N,) int64, ascending: presentation time of each shown frame, in the stream's time base."""
    keyframes: np.ndarray
    """(M,) int64, ascending: presentation times that decoding can start from."""
    rate_hz: float
    """Average frame rate."""
    tick_s: float
    """Seconds that presentation times count by: the stream's time base."""
    counted: bool = False
    """Frames bear no usable times (B-frames in AVI): they are counted from the beginning, and
    `pts` are their numbers."""

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.pts)

    @property
    def times_s(self) -> np.ndarray:
        """When each frame is shown, seconds from the first, and when the last one's time is over.

        returns (N + 1,) float64; the last frame has the time of an average one.
        """
        shown = (self.pts - self.pts[0]) * self.tick_s
        return np.append(shown, shown[-1] + 1 / self.rate_hz)


def index_video(path: str | Path) -> VideoIndex:
    """Read where a video's frames are, without decoding them.

    Raises InputError when the file is missing, empty, cut short, or has no video in it.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        span = locate(path)
        if "mp4" in container.format.name and span is not None:
            _refuse_cut_short(path, span)
        shown, keys = [], []
        for packet in container.demux(stream):
            if packet.pts is None or packet.is_discard:
                continue
            shown.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        tick = float(stream.time_base or 1 / rate)
        counted = container.format.name == "avi" and stream.codec_context.has_b_frames > 0
    if not shown or not keys:
        raise InputError(f"{path}: no frame can be found in it; replace it or leave it out")
    return VideoIndex(
        path=path,
        pts=np.arange(len(shown)) if counted else np.unique(np.array(shown, np.int64)),
        keyframes=np.zeros(1, np.int64) if counted else np.unique(np.array(keys, np.int64)),
        rate_hz=rate,
        tick_s=1 / rate if counted else tick,
        counted=counted,
    )


def read_frames(
    video: VideoIndex, indices: Sequence[int] | np.ndarray, *, threads: int = 1
) -> np.ndarray:
    """Decode frames by number, upright as players show them.

    indices  frame numbers in any order, repeats allowed, each below len(video).
    threads  decoding threads; data loaders have processes instead.
    returns  (n, H, W, 3) uint8 RGB, in the order asked for.
    Raises InputError when a number is out of range or a frame cannot be decoded.
    """
    wanted = np.asarray(indices, np.int64)
    if len(wanted) == 0:
        raise InputError(f"{video.path}: no frame asked for; give at least one number")
    if wanted.min() < 0 or wanted.max() >= len(video):
        raise InputError(
            f"{video.path}: has frames 0 to {len(video) - 1}, asked for "
            f"{wanted.min()} to {wanted.max()}"
        )
    times = np.unique(video.pts[wanted])
    decoded: dict[int, np.ndarray] = {}
    back = 0
    while len(decoded) < len(times):
        missing = times[len(decoded) :]
        behind = int(np.searchsorted(video.keyframes, missing[0], side="right")) - 1 - back
        start = int(video.keyframes[behind]) if behind > 0 else None
        found = _decode_run(video, missing, start, threads)
        if not found and behind <= 0:
            raise InputError(
                f"{video.path}: frame {np.searchsorted(video.pts, missing[0])} of {len(video)} "
                f"cannot be decoded; the file is damaged: replace it or leave it out"
            )
        # A container may seek by decoding time and land too late: step back a keyframe.
        back = 0 if found else back + 1
        decoded |= found
    sizes = {frame.shape for frame in decoded.values()}
    if len(sizes) > 1:
        raise InputError(
            f"{video.path}: its picture changes size ("
            + ", ".join(f"{width} x {height}" for height, width, _ in sorted(sizes))
            + "); encode it anew at one size or leave it out"
        )
    return np.stack([decoded[int(video.pts[index])] for index in wanted])


def _decode_run(
    video: VideoIndex, times: np.ndarray, start: int | None, threads: int
) -> dict[int, np.ndarray]:
    """Decode as many of `times` as follow closely on a keyframe, or on the beginning."""
    found: dict[int, np.ndarray] = {}
    with _opened(video.path) as (container, stream):
        stream.thread_type = "NONE" if threads == 1 else "AUTO"
        stream.codec_context.thread_count = threads
        if start is not None:
            container.seek(start, stream=stream, backward=True)
        for number, frame in enumerate(container.decode(stream)):
            time = number if video.counted else frame.pts
            if time is None or time < times[len(found)]:
                continue
            if time > times[len(found)]:
                break
            found[int(time)] = _upright(frame)
            if len(found) == len(times) or _nearer_key(video, times[len(found)], time):
                break
    return found


def _upright(frame: VideoFrame) -> np.ndarray:
    """RGB pixels, turned as the file says that they are to be shown."""
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _nearer_key(video: VideoIndex, wanted: int, here: int) -> bool:
    """Whether a keyframe lies between the frame just read and the wanted one."""
    first = np.searchsorted(video.keyframes, here, side="right")
    return bool(first < len(video.keyframes) and video.keyframes[first] <= wanted)


def _refuse_cut_short(path: Path, span: Span) -> None:
    """Compare the lengths that an mp4's outermost boxes state with the file's.

    FFmpeg reads a file whose end is missing as a shorter video, and says nothing.
    """
    length = span.size
    place = 0
    with span.file.open("rb") as file:
        while place + 8 <= length:
            file.seek(span.start + place)
            header = file.read(16)
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if size == 1:
                size = int.from_bytes(header[8:16], "big")
            if size < 8:
                return
            if place + size > length and kind in (b"mdat", b"moov", b"moof"):
                raise InputError(
                    f"{path}: cut short, {length} bytes of at least {place + size}; "
                    f"copy it again or leave it out"
                )
            place += size


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video and name the file in whatever goes wrong inside."""
    import av
    import av.error

    span = locate(path)
    if span is None:
        raise InputError(f"{path}: no such video; check the path or the list that names it")
    if span.size == 0:
        raise InputError(f"{path}: empty (0 bytes); replace it or leave it out")
    try:
        # PyAV hands the options on to the decoders of FFmpeg's first look at the streams as well.
        with av.open(span.url, options=_ONE_FILE | _BOUNDED) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream):
                raise InputError(f"{path}: has no picture in it; replace it or leave it out")
            if max(stream.width, stream.height) > LARGEST_SIDE_PX:
                raise InputError(
                    f"{path}: {stream.width} x {stream.height} px, at most {LARGEST_SIDE_PX} a "
                    f"side are read; make it smaller or leave it out"
                )
            stream.codec_context.options = _BOUNDED
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: not a readable video ({reason}); replace it or leave it out"
        ) from error
