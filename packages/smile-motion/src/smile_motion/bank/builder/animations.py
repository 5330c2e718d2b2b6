"""Files that move by themselves, read with alpha: GIF, WebP, APNG and videos, as poses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from smile_motion.bank.format import LARGEST_SIDE_PX, shrink
from smile_motion.errors import InputError
from smile_motion.io.images import FORMATS, decode_rgba, open_image
from smile_motion.video.decoder import (
    DECODER_LIMITS,
    decoded_frames,
    opened,
    oriented,
    refuse_cut_short,
)
from smile_motion.video.tar import locate

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream
    from PIL.Image import Image

VIDEOS = (".mov", ".webm", ".mkv", ".avi", ".mp4")
"""Suffixes of videos that can have alpha."""
WITH_ALPHA = "ProRes 4444, QuickTime Animation and PNG in MOV, VP8 and VP9 in WebM have one"
_NOISE = 4
"""Alpha of a video's pixel below which it is taken for noise of the coding, of 255. Ours."""
_WHOLE = 0.9
"""Share of its stated duration, less two frames, that a whole video's frames span. Ours."""
_LIBVPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders of alpha, which FFmpeg's own decoders of these codecs leave out."""


@dataclass(frozen=True, kw_only=True)
class AnimatedFile:
    """Frames of an animated picture, or of a video with alpha."""

    path: Path
    """The file."""
    count: int
    """Number of its frames, 1 or more."""

    @classmethod
    def open(cls, path: Path) -> AnimatedFile:
        """Open a file and count its frames.

        Raises:
            InputError: It cannot be read, is cut short, or is a video without alpha.
        """
        if path.suffix.lower() in VIDEOS:
            span = locate(path)
            if span is not None:
                refuse_cut_short(path, span)
            with opened(path) as (container, stream):
                _require_alpha(path, stream)
                times = [packet.pts for packet in container.demux(stream) if packet.size]
                shown = [time for time in times if time is not None]
                if shown and stream.time_base is not None and len(container.streams) == 1:
                    there_s = float((max(shown) - min(shown)) * stream.time_base)
                    whole_s = (container.duration or 0) / 1e6 - 2 * _frame_ms(stream) / 1000
                    if there_s < _WHOLE * whole_s:
                        raise InputError(
                            f"{path}: cut short, {len(times)} frames of {there_s:.2f} s, of "
                            f"{whole_s:.2f} s or more; copy it again or leave it out"
                        )
            return cls(path=path, count=max(len(times), 1))
        with open_animation(path) as image:
            return cls(path=path, count=getattr(image, "n_frames", 1))

    def read(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
        """Decode frames of ascending numbers.

        Yields:
            (H, W, 4) uint8 straight-alpha RGBA, and its duration, milliseconds.

        Raises:
            InputError: A frame cannot be decoded, or is larger than `LARGEST_SIDE_PX`.
        """
        if self.path.suffix.lower() in VIDEOS:
            yield from self._read_video(set(numbers.tolist()))
            return
        with open_animation(self.path) as image:
            for number in numbers.tolist():
                image.seek(number)
                # Browsers show a frame that states nothing for 100 ms.
                yield decode_rgba(image), float(image.info.get("duration") or 100)

    def _read_video(self, numbers: set[int]) -> Iterator[tuple[np.ndarray, float]]:
        with opened(self.path) as (container, stream):
            frame_ms = _frame_ms(stream)
            codec = _require_alpha(self.path, stream)
            if max(stream.width, stream.height) > LARGEST_SIDE_PX:
                raise InputError(
                    f"{self.path}: {stream.width} x {stream.height} px, at most {LARGEST_SIDE_PX} "
                    f"a side are read; make it smaller"
                )
            if codec is stream.codec_context:
                frames = decoded_frames(container, stream)
            else:
                packets = container.demux(stream)
                frames = (frame for packet in packets for frame in codec.decode(packet))
            for number, frame in enumerate(islice(frames, max(numbers) + 1)):
                if number in numbers:
                    pixels = frame.to_ndarray(format="rgba")  # type: ignore[union-attr]
                    pixels[..., 3][pixels[..., 3] < _NOISE] = 0
                    matrix = frame.side_data.get("DISPLAYMATRIX")
                    if matrix is not None:
                        pixels = oriented(pixels, np.frombuffer(matrix, "=i4"))
                    yield pixels, frame_ms


@contextmanager
def open_animation(path: Path) -> Iterator[Image]:
    """Open a picture that may move, within bounds; see `open_image`."""
    with open_image(path, largest_px=LARGEST_SIDE_PX, formats=(*FORMATS, "GIF")) as image:
        yield image


def has_alpha(path: Path) -> bool:
    """Whether a picture's or video's header declares transparency that can be decoded; True where
    it cannot be read, so that whoever decodes it reports it."""
    try:
        if path.suffix.lower() in VIDEOS:
            with opened(path) as (_, stream):
                return _alpha_decoder(stream) is not None
        with open_animation(path) as image:
            return image.has_transparency_data
    except InputError:
        return True


def read_poses_of(
    file: AnimatedFile, *, most: int, largest_px: int
) -> tuple[np.ndarray, dict[str, int | float]]:
    """Read a file's frames as the poses of an object, on one canvas.

    The canvas is the box of all pixels that are visible in any pose. Frames before the first with
    an opaque pixel are left out; later ones may be empty.

    Args:
        file: The file.
        most: Largest number of poses; of more frames so many are taken, evenly spaced.
        largest_px: Longest side of the poses, pixels; larger ones are reduced.

    Returns:
        (n, H, W, 4) uint8 straight-alpha RGBA, and what to record: `pose_ms`, the mean duration of
        a pose, and `source_frames` if frames were left out to have `most`.

    Raises:
        InputError: A frame cannot be decoded, or none has an opaque pixel, or all are opaque to
            their corners.
    """
    kept = min(most, file.count)
    numbers = np.arange(kept) * file.count // kept
    low, high, most_alpha, least_alpha = np.array([1 << 30] * 2), np.zeros(2, int), 0, 255
    lasted_ms = 0.0
    sizes = set[tuple[int, ...]]()
    for frame, frame_ms in file.read(numbers):
        sizes.add(frame.shape)
        lasted_ms += frame_ms
        alpha = frame[..., 3]
        most_alpha = max(most_alpha, int(alpha.max()))
        least_alpha = min(least_alpha, int(alpha.min()))
        for axis in (0, 1):
            if len(seen := np.flatnonzero((alpha > 0).any(axis=1 - axis))):
                low[axis] = min(low[axis], seen[0])
                high[axis] = max(high[axis], seen[-1] + 1)
    if len(sizes) > 1:
        raise InputError(f"{file.path}: its frames have several sizes; write it anew with one")
    if most_alpha < 128:
        raise InputError(
            f"{file.path}: no opaque pixel in {len(numbers)} frames (alpha max {most_alpha}); "
            f"replace or delete it"
        )
    if least_alpha == 255:
        raise InputError(
            f"{file.path}: opaque to its corners in all frames; remove it, or give it a "
            f"transparent background"
        )
    part = np.s_[low[0] : high[0], low[1] : high[1]]
    poses = [shrink(np.ascontiguousarray(f[part]), largest_px) for f, _ in file.read(numbers)]
    while poses[0][..., 3].max() < 128:
        del poses[0]
        if not poses:
            raise InputError(
                f"{file.path}: no opaque pixel in any frame of at most {largest_px} px; replace or "
                f"delete it"
            )
    details: dict[str, int | float] = {"pose_ms": round(lasted_ms / kept * file.count / kept, 2)}
    if kept < file.count:
        details["source_frames"] = file.count
    return np.stack(poses), details


def _frame_ms(stream: VideoStream) -> float:
    """Mean duration of a video's frame, milliseconds; 40 where nothing tells."""
    return 1000 / float(stream.average_rate or stream.guessed_rate or 25)


def _alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """Decoder of a stream's pictures with alpha; None if it has none that can be decoded."""
    from av import CodecContext
    from av.codec.codec import UnknownCodecError

    codec = stream.codec_context
    declared = {name.lower(): value for name, value in stream.metadata.items()}
    if declared.get("alpha_mode") == "1" and codec.name in _LIBVPX:
        try:
            decoder = CodecContext.create(_LIBVPX[codec.name], "r")
        except UnknownCodecError:
            return None
        decoder.options = DECODER_LIMITS
        return cast("VideoCodecContext", decoder)
    if codec.format is not None and any(part.is_alpha for part in codec.format.components):
        return codec
    return None


def _require_alpha(path: Path, stream: VideoStream) -> VideoCodecContext:
    decoder = _alpha_decoder(stream)
    if decoder is None:
        codec = stream.codec_context
        raise InputError(
            f"{path}: {codec.name}, {codec.pix_fmt}: no alpha channel can be decoded; {WITH_ALPHA}"
        )
    return decoder
