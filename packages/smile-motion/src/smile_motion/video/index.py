"""Index of a video: the time of every frame, and the keyframes that decoding can start from."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from smile_motion.errors import InputError
from smile_motion.video.decoder import decoded_frames, opened, refuse_cut_short
from smile_motion.video.packed import PackedVideo, find_packed
from smile_motion.video.pictures import Pictures, find_pictures, frame_times_ms
from smile_motion.video.shards import TICKS_PER_S, shard_around
from smile_motion.video.tar import locate

_LOGGER = logging.getLogger(__name__)
_TIMED = frozenset({"mov", "mp4", "matroska", "webm", "flv"})
"""Containers that store the time of every frame, B-frames included."""
_BROADCAST = frozenset({"mpegts", "mpeg"})
"""Containers that can be concatenated, or begin within a stream."""
_WAITING = frozenset({"h264", "hevc", "mpeg2video", "av1"})
"""Broadcast codecs whose decoders skip frames up to the next keyframe."""
_LONGEST_GAP_S = 1.0
"""Longest gap between frames of a broadcast, seconds; longer ones may be joints of streams."""
_PROGRESSIVE = 1
"""FFmpeg's number of an order of fields."""
_FIRST = 4
"""Packets that are decoded on trial if the container does not say enough."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """Times of all frames of a video, so that frame i is the same in every reader and run."""

    path: Path
    """Path of the video."""
    pts: np.ndarray
    """(N,) int64, ascending: presentation time of each displayed frame, in ticks."""
    keyframes: np.ndarray
    """(M,) int64, ascending: presentation times that decoding can start from, in ticks, those of
    hidden frames included."""
    rate_hz: float
    """Average frame rate."""
    tick_s: float
    """Length of a tick (time base of the stream), seconds."""
    counted: bool = False
    """Whether frames have no usable times (B-frames in AVI, joined streams): then they are counted
    from the beginning, and `pts` are their numbers."""
    lost: int = 0
    """Number of frames that cannot be decoded since their reference frames are not in the file;
    they are not counted otherwise."""
    is_plain: bool = False
    """Whether any build of FFmpeg decodes the same frames: progressive ones with usable times, of
    no broadcast."""
    packed: PackedVideo | None = None
    """Place of the frames of a packed video, which is read without opening a container."""
    pictures: Pictures | None = None
    """Files of a video that is a folder of images, or an animation."""

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.pts)

    @property
    def times_s(self) -> np.ndarray:
        """Start of each frame, seconds from the first, and the end of the last one.

        Returns:
            (N + 1,) float64; the last frame has the mean duration.
        """
        shown = (self.pts - self.pts[0]) * self.tick_s
        return np.append(shown, shown[-1] + 1 / self.rate_hz)


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """Data of a container on all its frames."""

    shown: list[int | None]
    """Times of the packets that are to be shown, in the order of decoding."""
    decoding: list[int]
    """Decoding times of the packets that have one."""
    first: int | None
    """Time of the first packet, hidden or not."""
    keys: list[int]
    """Times of keyframes, ascending."""
    rate_hz: float
    tick_s: float
    has_times: bool
    """Whether frames bear times by which they can be sought."""
    is_broadcast: bool
    is_progressive: bool
    """Whether frames are known to be no fields of a television picture."""
    is_corrupt: bool
    """Whether a packet is known to be damaged."""
    is_whole: bool
    """Whether the first packet is a keyframe, and each of the first gives a picture where tried."""


def index_video(path: str | Path) -> VideoIndex:
    """Index the frames of a video.

    An intact file is not decoded, but for animated WebP and APNG. A file that begins within a group
    of pictures, or joins several streams, is decoded to find the frames that come out; a logged
    warning counts the rest.

    Args:
        path: Path of a video, of one in a tar, or of a folder of numbered images.

    Raises:
        InputError: The file is missing, empty, truncated, or has no video stream, or a folder lacks
            a number.
    """
    path = Path(path)
    packed = find_packed(path)
    if packed is not None:
        return _packed_index(path, packed)
    pictures = find_pictures(path)
    if pictures is not None:
        times = frame_times_ms(pictures)
        return VideoIndex(
            path=path,
            pts=times[:-1],
            keyframes=times[:1] if pictures.is_animation else times[:-1],
            rate_hz=1000 * (len(times) - 1) / int(times[-1]),
            tick_s=1e-3,
            pictures=pictures,
        )
    scan = _scan(path)
    stated = shown = scan.shown
    counted = not scan.has_times
    if _begins_badly(scan) or _may_be_joined(scan):
        begin = scan.keys if scan.has_times and not _may_be_joined(scan) else []
        shown, at_end = _decode_times(path, begin)
        if not at_end:
            end = shown[-1] or 0
            shown += sorted(time for time in stated if time is not None and time > end)
        counted |= None in shown or any(one >= other for one, other in pairwise(shown))  # type: ignore[operator]
    if not shown or (not scan.keys and shown is stated):
        raise InputError(f"{path}: no frame can be found in it; replace it or leave it out")
    lost = len(stated) - len(shown) if counted else (Counter(stated) - Counter(shown)).total()
    if lost > 0:
        _say_lost(path, lost, len(shown))
    return VideoIndex(
        path=path,
        pts=np.arange(len(shown)) if counted else np.unique(np.array(shown, np.int64)),
        keyframes=np.array([0] if counted else scan.keys or shown[:1], np.int64),
        rate_hz=scan.rate_hz,
        tick_s=1 / scan.rate_hz if counted else scan.tick_s,
        counted=counted,
        lost=max(lost, 0),
        is_plain=scan.is_progressive and not scan.is_broadcast and not counted,
    )


def _packed_index(path: Path, video: PackedVideo) -> VideoIndex:
    times = video.table["time"].astype(np.int64)
    return VideoIndex(
        path=path,
        pts=times,
        keyframes=times[:: video.record.group],
        rate_hz=video.record.rate_hz,
        tick_s=1 / TICKS_PER_S,
        packed=video,
    )


def _scan(path: Path) -> _Scan:
    """Read what a container says; of broadcasts, and AVI with B-frames, try the first packets."""
    with opened(path) as (container, stream):
        formats = set(container.format.name.split(","))
        span = locate(path)
        if "mp4" in formats and span is not None:
            refuse_cut_short(path, span)
        codec = stream.codec_context
        reorders = codec.has_b_frames > 0
        shown, decoding, keys, first = [], [], [], []
        is_corrupt = False
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            time = packet.pts
            if not packet.is_discard:
                shown.append(time)
            if packet.dts is not None:
                decoding.append(packet.dts)
            if packet.is_keyframe and time is not None:
                keys.append(time)
            is_corrupt |= packet.is_corrupt
            if len(first) < _FIRST:
                first.append(packet)
        is_broadcast = bool(formats & _BROADCAST)
        tried = first if is_broadcast or (reorders and "avi" in formats) else []
        pictures = [frame for packet in (*tried, None) if tried for frame in codec.decode(packet)]
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        return _Scan(
            shown=shown,
            decoding=decoding,
            first=first[0].pts if first else None,
            keys=sorted(set(keys)),
            rate_hz=rate,
            tick_s=float(stream.time_base or 1 / rate),
            has_times=not reorders
            or bool(formats & _TIMED)
            or (is_broadcast and codec.name in _WAITING),
            is_broadcast=is_broadcast,
            is_progressive=getattr(codec, "field_order", 0) == _PROGRESSIVE,
            is_corrupt=is_corrupt,
            is_whole=bool(first) and first[0].is_keyframe and len(pictures) == len(tried),
        )


def _begins_badly(scan: _Scan) -> bool:
    """Whether the first frames may lack what they build on."""
    stated = (time for time in scan.shown if time is not None)
    return not scan.is_whole or (scan.first is not None and min(stated, default=0) < scan.first)


def _may_be_joined(scan: _Scan) -> bool:
    """Whether times are missing, come twice, go back, or (of a broadcast) leave a gap."""
    steps = np.diff(np.array(scan.decoding, np.int64))
    return (
        scan.is_corrupt
        or None in scan.shown
        or len(set(scan.shown)) < len(scan.shown)
        or bool((steps < 0).any())
        or (scan.is_broadcast and bool((steps * scan.tick_s > _LONGEST_GAP_S).any()))
        or (scan.is_broadcast and not scan.has_times)
    )


def _decode_times(path: Path, keys: Sequence[int]) -> tuple[list[int | None], bool]:
    """Decode from the beginning to see which frames come out, and when each is shown.

    Args:
        path: Path of the video.
        keys: Times of keyframes; decoding stops at the second one after the first frame, and at the
            end without any.

    Returns:
        Times of the frames, and whether these are all frames of the video.
    """
    times: list[int | None] = []
    stop = None
    with opened(path) as (container, stream):
        for frame in decoded_frames(container, stream):
            times.append(frame.pts)
            if len(times) == 1 and frame.pts is not None:
                later = bisect_right(keys, frame.pts) + 1
                stop = keys[later] if later < len(keys) else None
            if stop is not None and frame.pts is not None and frame.pts >= stop:
                return times, False
    return times, True


@cache
def _say_lost(path: Path, lost: int, found: int) -> None:
    """Warn of frames that cannot be decoded, once per process."""
    _LOGGER.warning(
        "%s: %d frames cannot be decoded, since what they build on is not in the file; the other "
        "%d are read",
        *(path, lost, found),
    )


OPEN_INDEXES = 256
"""Number of indexes that are cached; a minute of video takes about 15 KB."""


def open_index(path: Path) -> VideoIndex:
    """Index a video, or return its cached index if the file has not changed.

    Args:
        path: Path of a video, or of one in a tar.

    Raises:
        InputError: The file is missing, empty, truncated, or has no video stream.
    """
    shard = shard_around(path)
    span = locate(path) if shard is None else None
    file = shard.path if shard is not None else span and span.file
    if file is None and path.is_dir():
        file = path
    if file is None:
        return index_video(path)  # It says what is wrong.
    state = file.stat()
    return _open_index(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=OPEN_INDEXES)
def _open_index(path: Path, _mtime_ns: int, _size: int) -> VideoIndex:
    """Index a video; one whose file has changed since is another key."""
    return index_video(path)
