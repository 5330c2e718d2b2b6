"""Reading of packed videos: the index without a scan, and frames without a container.

wanted frames   3  7  9        groups of 4:  K . . . K . . . K .
decoded         0-3, 4-7, 8-9  every frame a key frame: 3, 7, 9
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smile_motion.errors import InputError
from smile_motion.video.decoder import DECODER_LIMITS, HALVED_COLOR, Crop, Cutter
from smile_motion.video.shards import PackedRecord, shard_around

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.codeccontext import VideoCodecContext


_PACK_AGAIN = "copy the shard again, or delete it and pack again"


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedVideo:
    """A video in a shard, with its table of frames."""

    shard: Path
    """Path of the tar."""
    record: PackedRecord
    """Record of the video."""
    table: np.ndarray
    """(N,) `smile_motion.video.shards.FRAME`: position, size, time and checksum of each frame."""


def find_packed(path: Path) -> PackedVideo | None:
    """Find a packed video by its path; None for other videos.

    Raises:
        InputError: The shard is damaged.
    """
    shard = shard_around(path)
    place = shard and shard.places.get(path.relative_to(shard.path).as_posix())
    if shard is None or place is None:
        return None
    return PackedVideo(shard=shard.path, record=shard.records[place], table=shard.table(place))


def read_packed(
    video: PackedVideo,
    wanted: Sequence[int] | np.ndarray,
    *,
    crop: Crop | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Decode frames by number, with no others than their reference frames.

    Args:
        video: The packed video.
        wanted: Frame numbers in any order, repeats allowed, each below the number of frames.
        crop: The part of the picture that is converted to RGB; all of it by default.
        threads: Decoding threads.

    Returns:
        (n, H, W, 3) uint8 RGB, in the order asked for; H and W are those of the crop.

    Raises:
        InputError: The shard has changed since it was packed, or FFmpeg lacks the decoder.
    """
    numbers, places = np.unique(np.asarray(wanted, np.int64), return_inverse=True)
    _, _, width, height = crop or (0, 0, video.record.width, video.record.height)
    images = np.empty((len(numbers), height, width, 3), np.uint8)
    for place, image in enumerate(iterate_packed(video, numbers, crop=crop, threads=threads)):
        images[place] = image
    if len(places) == len(numbers) and (places[1:] > places[:-1]).all():
        return images
    return images[places]


def iterate_packed(
    video: PackedVideo, numbers: np.ndarray, *, crop: Crop | None = None, threads: int = 1
) -> Iterator[np.ndarray]:
    """Decode frames one by one; arguments as of `read_packed`.

    Args:
        video: The packed video.
        numbers: (n,) frame numbers, ascending, without repeats.
        crop: The part of the picture that is converted to RGB; all of it by default.
        threads: Decoding threads.

    Yields:
        (H, W, 3) uint8 RGB in the decoder's memory: to be read before the next is asked for.
    """
    cutter = Cutter(crop or (0, 0, video.record.width, video.record.height))
    for frame in decode_packed(video, numbers, threads=threads):
        yield cutter.to_rgb(frame)


def decode_packed(
    video: PackedVideo, numbers: np.ndarray, *, threads: int = 1
) -> Iterator[VideoFrame]:
    """Decode frames in the codec's pixel format.

    Args:
        video: The packed video.
        numbers: (n,) int64 frame numbers, ascending, without repeats.
        threads: Decoding threads.

    Yields:
        The frames, in order.

    Raises:
        InputError: The shard has changed since it was packed, or FFmpeg lacks the decoder.
    """
    from av.error import FFmpegError

    name = f"{video.shard}/{video.record.name}.mp4"
    needed = needed_frames(numbers, video.record.group)
    context = _open_decoder(video, name)
    if threads > 1:
        context.thread_type = "FRAME"
    context.thread_count = threads
    left = iter(numbers.tolist())
    following = next(left, None)
    try:
        for frame in _decoded(context, video, needed, name):
            if frame.pts == following:
                _require_form(frame, video.record, name)
                yield frame
                following = next(left, None)
    except FFmpegError as error:
        raise InputError(
            f"{name}: frame {following} cannot be decoded ({error.strerror}); {_PACK_AGAIN}"
        ) from error
    if following is not None:
        raise InputError(f"{name}: frame {following} cannot be decoded; {_PACK_AGAIN}")


def _require_form(frame: VideoFrame, record: PackedRecord, name: str) -> None:
    """Refuse a picture of another size or layout than the index says, before it is copied."""
    found = frame.width, frame.height, frame.format.name
    if found[:2] != (record.width, record.height) or found[2] not in HALVED_COLOR:
        raise InputError(
            f"{name}: frame {frame.pts} is {found[0]} x {found[1]} in {found[2]}, the index says "
            f"{record.width} x {record.height} in 4:2:0; {_PACK_AGAIN}"
        )


def needed_frames(numbers: np.ndarray, group: int) -> np.ndarray:
    """Add the frames that others are predicted from, back to the key frame before each.

    Args:
        numbers: (n,) int64 frame numbers, ascending, without repeats.
        group: Frames from one key frame to the next.

    Returns:
        (m,) int64 frame numbers, ascending, without repeats.
    """
    if group == 1:
        return numbers
    return np.unique(
        np.concatenate([np.arange(number - number % group, number + 1) for number in numbers])
    )


def _open_decoder(video: PackedVideo, name: str) -> VideoCodecContext:
    import av
    from av.codec.codec import UnknownCodecError

    try:
        context = av.VideoCodecContext.create(video.record.codec, "r")
    except UnknownCodecError as error:
        raise InputError(
            f"{name}: its codec is {video.record.codec}, which this FFmpeg cannot decode; install "
            f"a PyAV that can, or pack again with another --codec"
        ) from error
    context.options = dict(DECODER_LIMITS)
    try:
        context.extradata = bytes.fromhex(video.record.extradata) or None
    except ValueError as error:
        raise InputError(f"{name}: its index is damaged (extradata); {_PACK_AGAIN}") from error
    return context


def _decoded(
    context: VideoCodecContext, video: PackedVideo, needed: np.ndarray, name: str
) -> Iterator[VideoFrame]:
    from av import Packet

    for number, data in zip(needed.tolist(), _read_packets(video, needed, name), strict=True):
        packet = Packet(data)
        packet.pts = packet.dts = number
        yield from context.decode(packet)
    yield from context.decode(None)


def _read_packets(video: PackedVideo, needed: np.ndarray, name: str) -> Iterator[bytes]:
    rows = video.table[needed]
    starts = rows["start"].astype(np.int64) + video.record.start
    descriptor = os.open(video.shard, os.O_RDONLY)
    try:
        first, end = int(starts[0]), int(starts[-1]) + int(rows["size"][-1])
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, first, end - first, os.POSIX_FADV_WILLNEED)
        for number, start, size, crc in zip(
            needed.tolist(), starts.tolist(), rows["size"].tolist(), rows["crc"].tolist(),
            strict=True,
        ):  # fmt: skip
            data = os.pread(descriptor, size, start)
            if len(data) != size or zlib.crc32(data) != crc:
                raise InputError(
                    f"{name}: changed since it was packed (frame {number} is not what the index "
                    f"says); {_PACK_AGAIN}"
                )
            yield data
    finally:
        os.close(descriptor)
