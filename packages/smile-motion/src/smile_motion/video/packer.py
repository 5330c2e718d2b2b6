"""Re-encoding of videos by the settings of `VideoPacking`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from smile_motion.errors import InputError
from smile_motion.io.files import hash_file
from smile_motion.video.decoder import decoded_frames, opened, upright
from smile_motion.video.index import VideoIndex, index_video
from smile_motion.video.packed import PackedVideo, read_packed
from smile_motion.video.packing import ENCODERS, VideoPacking
from smile_motion.video.pictures import iterate_pictures
from smile_motion.video.shards import FRAME, TICKS_PER_S, PackedRecord

if TYPE_CHECKING:
    from av import VideoFrame

SAMPLED = 8
"""Number of frames that the PSNR of a video is measured on."""
_LIMITED, _FULL = 1, 2
"""FFmpeg's numbers of color ranges."""
_SMPTE170M, _BT470BG = 6, 5
"""FFmpeg's numbers of the color matrix of BT.601, which players assume for small videos."""


def reencode(
    packing: VideoPacking, source: Path, target: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """Re-encode a video.

    Args:
        packing: Settings.
        source: Anything that `index_video` reads.
        target: File to write, an MP4.

    Returns:
        Fields of the `PackedRecord` that are known, and the table of frames, (N,) `FRAME`. The
        bytes depend on the source and these settings only.

    Raises:
        InputError: The source cannot be read.
    """
    index = index_video(source)
    numbers = packing.kept_frames(index)
    duration_s = float(index.times_s[-1])
    rate_hz = len(numbers) / duration_s if len(numbers) < len(index) else index.rate_hz
    times = _ticks(index.times_s[numbers])
    chosen = np.unique(np.linspace(0, len(numbers) - 1, SAMPLED).round().astype(np.int64))
    samples = _encode(packing, _shown_frames(index, numbers), target, times, rate_hz, set(chosen))
    facts, table = _read_back(packing, source, target, times)
    facts |= {"rate_hz": rate_hz, "stride": round(len(index) / len(numbers), 3)}
    record = PackedRecord(**facts, name="", source="", psnr_db=0, start=0)
    packed = read_packed(PackedVideo(shard=target, record=record, table=table), chosen)
    return facts | {"psnr_db": round(psnr_db(packed, samples), 2)}, table


def _encode(
    packing: VideoPacking,
    frames: Iterator[VideoFrame],
    target: Path,
    times: np.ndarray,
    rate_hz: float,
    chosen: set[int],
) -> np.ndarray:
    """Write frames, and return the chosen ones before encoding, (n, H, W, 3) uint8."""
    import av

    encoder, pixel_format, matrix = ENCODERS[packing.codec]
    is_limited = packing.codec == "h264"
    color = {"dst_colorspace": matrix, "dst_color_range": _LIMITED if is_limited else _FULL}
    tick = Fraction(1, TICKS_PER_S)
    kept = []
    with av.open(str(target), "w", format="mp4") as container:
        rate = Fraction(rate_hz).limit_denominator(1001)
        stream = container.add_stream(encoder, rate=rate, options=_encoder_options(packing))
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = tick
        stream.codec_context.color_range = _LIMITED if is_limited else _FULL
        stream.codec_context.colorspace = _SMPTE170M if is_limited else _BT470BG
        for number, (frame, time) in enumerate(zip(frames, times.tolist(), strict=True)):
            image = resized(upright(frame), packing.size)
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            if number in chosen:
                kept.append(image)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture = picture.reformat(format=pixel_format, threads=1, **color)
            picture.pts, picture.time_base = time, tick
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return np.stack(kept)


def _encoder_options(packing: VideoPacking) -> dict[str, str]:
    quality = str(packing.encoder_quality)
    if packing.codec == "mjpeg":
        return {"qmin": quality, "qmax": quality, "huffman": "optimal", "threads": "1"}
    # Without arithmetic coding and deblocking, half of decoding, files are a seventh larger.
    # The encoder's macroblock tree reads memory that it never wrote: bytes would differ.
    fast = {"preset": "veryfast", "tune": "fastdecode", "crf": quality, "mbtree": "0"}
    return fast | {"g": str(packing.group), "bf": "0", "sc_threshold": "0", "threads": "1"}


def _read_back(
    packing: VideoPacking, source: Path, target: Path, times: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """Read the positions of the packets that were written."""
    table = np.zeros(len(times), FRAME)
    with opened(target) as (container, stream), target.open("rb") as file:
        packets = [packet for packet in container.demux(stream) if packet.size]
        if len(packets) != len(times):
            raise InputError(
                f"{source}: {len(times)} frames became {len(packets)} packets; leave it out"
            )
        for number, packet in enumerate(packets):
            if packet.is_keyframe != (number % packing.group == 0) or packet.pos is None:
                raise InputError(
                    f"{source}: FFmpeg put a key frame elsewhere than asked, at frame "
                    f"{number}; pack with --group 1"
                )
            file.seek(packet.pos)
            crc = zlib.crc32(file.read(packet.size))
            table[number] = packet.pos, packet.size, times[number], crc
        facts = {
            "codec": packing.codec,
            "group": packing.group,
            "frames": len(times),
            "width": stream.width,
            "height": stream.height,
            "bytes": target.stat().st_size,
            "sha256": hash_file(target),
            "extradata": (stream.codec_context.extradata or b"").hex(),
        }
    return facts, table


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """Shrink an image to even sides; smaller ones keep their size.

    Args:
        image: (H, W, 3) uint8.
        size: Length of the shorter side, pixels.
    """
    height, width = image.shape[:2]
    scale = min(1.0, size / min(height, width))
    new = tuple(max(2, 2 * int(side * scale / 2 + 0.5)) for side in (height, width))
    height, width = (min(a, max(2, b - b % 2)) for a, b in zip(new, (height, width), strict=True))
    if (height, width) == image.shape[:2]:
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def psnr_db(images: np.ndarray, originals: np.ndarray) -> float:
    """Compute the peak signal-to-noise ratio of (n, H, W, 3) uint8 images, dB, at most 99."""
    error = float(np.mean(np.square(images.astype(np.float32) - originals)))
    return min(99.0, 10 * np.log10(255**2 / error)) if error else 99.0


def _ticks(times_s: np.ndarray) -> np.ndarray:
    """Convert times to ticks that strictly ascend."""
    ticks = np.rint((times_s - times_s[0]) * TICKS_PER_S).astype(np.int64)
    steps = np.arange(len(ticks))
    return np.maximum.accumulate(ticks - steps) + steps


def _shown_frames(index: VideoIndex, numbers: np.ndarray) -> Iterator[VideoFrame]:
    """Decode a video from its beginning, and yield the frames of ascending numbers.

    Raises:
        InputError: A frame cannot be decoded, or the frame size changes.
    """
    size: tuple[int, int] | None = None
    if index.pictures is not None:
        import av

        for image in iterate_pictures(index.pictures, numbers.tolist()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            size = _same_size(index, frame, size)
            yield frame
        return
    wanted = index.pts[numbers].tolist()
    found = 0
    with opened(index.path) as (container, stream):
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(decoded_frames(container, stream)):
            time = number if index.counted else frame.pts
            if time != wanted[found]:
                continue
            size = _same_size(index, frame, size)
            yield frame
            found += 1
            if found == len(wanted):
                return
    raise InputError(
        f"{index.path}: frame {numbers[found]} of {len(index)} cannot be "
        f"decoded; the file is damaged: replace it or leave it out"
    )


def _same_size(
    index: VideoIndex, frame: VideoFrame, size: tuple[int, int] | None
) -> tuple[int, int]:
    """Return a frame's width and height, which are those of the frames before it."""
    if size not in (None, (frame.width, frame.height)):
        raise InputError(
            f"{index.path}: its picture changes size; encode it anew at one size or leave it out"
        )
    return frame.width, frame.height
