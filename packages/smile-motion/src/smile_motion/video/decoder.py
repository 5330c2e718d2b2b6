"""Decoding of video files within bounds, frame by frame, upright as players show them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smile_motion.errors import InputError
from smile_motion.video.tar import Span, locate

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream


def decoded_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode from the container's position on, in display order.

    Packets before the first keyframe that the decoder refuses are skipped: streams that begin
    within a group of pictures have such. Later ones are damage.

    Raises:
        av.error.InvalidDataError: A packet after the first keyframe cannot be decoded.
    """
    from av.error import InvalidDataError

    begun = False
    for packet in container.demux(stream):
        begun |= packet.is_keyframe
        try:
            frames = packet.decode()
        except InvalidDataError:
            if begun:
                raise
            continue
        yield from frames  # type: ignore[misc]  # a video stream's


def _reformatter() -> VideoReformatter:
    """Return the pixel converter of this thread, which is reused.

    A frame's own one starts a thread for every core and ends it again, frame by frame: converting
    112 x 112 pixels took 218 us with 16 threads, 6 with this one (two cores).
    """
    kept = getattr(_local, "reformatter", None)
    if kept is None:
        from av.video.reformatter import VideoReformatter

        kept = _local.reformatter = VideoReformatter()
    return kept


_local = threading.local()


def to_rgb(frame: VideoFrame) -> VideoFrame:
    """Convert a frame to RGB as it is stored, in one thread."""
    return _reformatter().reformat(frame, format="rgb24", threads=1)


HALVED_COLOR = ("yuv420p", "yuvj420p")
"""Pixel formats of 8 bits whose color has half the rows and columns (4:2:0), by FFmpeg's names."""
Crop = tuple[int, int, int, int]
"""A part of a picture: x, y, width, height in pixels."""


class Cutter:
    """Converts a part of frames to RGB, of progressive 4:2:0 in 8 bits with even sides.

    Cut at even places, it is what converting the whole and cutting that gives, in less time.
    """

    def __init__(self, crop: Crop) -> None:
        self.crop = crop
        self._x, self._y = (at - at % 2 for at in crop[:2])
        sides = (side + at % 2 for at, side in zip(crop[:2], crop[2:], strict=True))
        self._width, self._height = (side + side % 2 for side in sides)
        self._part: VideoFrame | None = None
        self._targets: list[np.ndarray] = []

    @staticmethod
    def fits(frame: VideoFrame) -> bool:
        """Whether a frame is of the kind that can be cut, and upright."""
        even = frame.width % 2 == frame.height % 2 == 0
        return (
            even
            and frame.format.name in HALVED_COLOR
            and not frame.interlaced_frame
            and frame.side_data.get("DISPLAYMATRIX") is None
        )

    def to_rgb(self, frame: VideoFrame) -> np.ndarray:
        """Cut and convert a frame.

        Returns:
            (H, W, 3) uint8 of the crop, in the converter's memory: read it before the next frame.
        """
        x, y, width, height = self.crop
        whole = (self._width, self._height) == (frame.width, frame.height)
        (rows,) = _planes(to_rgb(frame if whole else self._cut(frame)))
        top, left = y % 2, x % 2
        return rows[top : top + height, 3 * left : 3 * (left + width)].reshape(height, width, 3)

    def _cut(self, frame: VideoFrame) -> VideoFrame:
        """Cut a frame, into memory that the next one is cut into as well."""
        from av import VideoFrame

        if self._part is None:
            self._part = VideoFrame(self._width, self._height, frame.format.name)
            self._part.colorspace, self._part.color_range = frame.colorspace, frame.color_range
            self._targets = _planes(self._part)
        for step, source, target in zip((1, 2, 2), _planes(frame), self._targets, strict=True):
            rows, columns = self._height // step, self._width // step
            top, left = self._y // step, self._x // step
            target[:rows, :columns] = source[top : top + rows, left : left + columns]
        return self._part


def _planes(frame: VideoFrame) -> list[np.ndarray]:
    """A frame's memory: (rows, bytes of a row and what pads it) uint8 for each plane."""
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[arg-type]
        for plane in frame.planes
    ]


def upright(frame: VideoFrame) -> np.ndarray:
    """Convert a frame to RGB, rotated and mirrored by its display matrix.

    Returns:
        (H, W, 3) uint8.
    """
    pixels = to_rgb(frame).to_ndarray()
    side_data = frame.side_data.get("DISPLAYMATRIX")
    return pixels if side_data is None else oriented(pixels, np.frombuffer(side_data, "=i4"))


def oriented(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a display matrix, rounded to the nearest of the eight rotations and reflections.

    Args:
        pixels: (H, W, 3).
        matrix: (9,) fixed-point numbers of the container's 3 x 3 matrix: stored position (x, y) is
            displayed at (m0 x + m3 y, m1 x + m4 y), up to an offset.
    """
    across, turned_across, turned_down, down = (int(matrix[at]) for at in (0, 3, 1, 4))
    if abs(across) + abs(down) < abs(turned_across) + abs(turned_down):
        pixels = pixels.swapaxes(0, 1)
        across, down = turned_across, turned_down
    if down < 0:
        pixels = pixels[::-1]
    if across < 0:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


LARGEST_SIDE_PX = 8192
"""Largest width or height of a video, pixels; larger ones are refused before decoding."""
_CONTAINERS = (
    "asf,avi,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,rm,yuv4mpegpipe"
)
_ONE_FILE = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file,subfile"}
"""Containers that hold their own frames. FFmpeg would also follow playlists to other files and
hosts."""
DECODER_LIMITS = {"max_pixels": str(LARGEST_SIDE_PX**2)}
"""Limit for decoders, since frames can be larger than the header says."""


@cache
def _any_encoding() -> dict[str, Any]:
    """Arguments that open files with metadata in any encoding, which is not read here.

    PyAV keeps their bytes from version 19 on, and has no such argument any more.
    """
    import av

    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video; errors in the block name the file.

    Raises:
        InputError: The file is missing, empty, truncated, too large, or has no video stream.
    """
    import av
    import av.error

    span = locate(path)
    if span is None:
        raise InputError(f"{path}: no such video; check the path or the list that names it")
    if span.size == 0:
        raise InputError(f"{path}: empty (0 bytes); replace it or leave it out")
    try:
        # PyAV hands the options on to the decoders of FFmpeg's first look at the streams as well.
        with av.open(span.url, options=_ONE_FILE | DECODER_LIMITS, **_any_encoding()) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream):
                raise InputError(f"{path}: has no picture in it; replace it or leave it out")
            # PyAV opens streams without a decoder, which then lack what they would get from it.
            if not getattr(stream, "codec_context", None):
                raise InputError(f"{path}: of an unknown codec; encode it anew or leave it out")
            if max(stream.width, stream.height) > LARGEST_SIDE_PX:
                raise InputError(
                    f"{path}: {stream.width} x {stream.height} px, at most {LARGEST_SIDE_PX} a "
                    f"side are read; make it smaller or leave it out"
                )
            stream.codec_context.options = DECODER_LIMITS
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: not a readable video ({reason}); replace it or leave it out"
        ) from error


def refuse_cut_short(path: Path, span: Span) -> None:
    """Check that the outermost boxes of an mp4 fit into the file.

    FFmpeg silently reads a truncated file as a shorter video.

    Args:
        path: Path named in errors.
        span: Bytes of the video.

    Raises:
        InputError: The file is truncated.
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
