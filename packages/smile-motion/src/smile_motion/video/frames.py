"""Reading videos by exact frame number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from smile_motion.errors import InputError
from smile_motion.video.decoder import Crop, Cutter, decoded_frames, opened, upright
from smile_motion.video.index import VideoIndex
from smile_motion.video.packed import read_packed
from smile_motion.video.pictures import iterate_pictures

if TYPE_CHECKING:
    from av import VideoFrame

ChooseCrop = Callable[[int, int], Crop]
"""Height and width of a video's pictures -> the part that is wanted."""


class FrameReader(Protocol):
    """Decodes frames by number as `read_frames` does, and gives the same ones."""

    def __call__(
        self, video: VideoIndex, indices: np.ndarray, *, crop: ChooseCrop | None = None
    ) -> np.ndarray:
        """Decode frames; see `read_frames`."""
        ...


def read_frames(
    video: VideoIndex,
    indices: Sequence[int] | np.ndarray,
    *,
    crop: ChooseCrop | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Decode frames by number, upright as players show them.

    Args:
        video: Index of the video.
        indices: (n,) frame numbers in any order, repeats allowed, each below len(video).
        crop: Chooses the part that is converted to RGB; called once. All of it by default.
        threads: Decoding threads; data loaders use processes instead.

    Returns:
        (n, H, W, 3) uint8 RGB, in the order asked for; H and W are those of the crop.

    Raises:
        InputError: A number is out of range or a frame cannot be decoded.
    """
    wanted = np.asarray(indices, np.int64)
    if len(wanted) == 0:
        raise InputError(f"{video.path}: no frame asked for; give at least one number")
    if wanted.min() < 0 or wanted.max() >= len(video):
        raise InputError(
            f"{video.path}: has frames 0 to {len(video) - 1}, asked for "
            f"{wanted.min()} to {wanted.max()}"
        )
    if video.packed is not None:
        record = video.packed.record
        part = None if crop is None else crop(record.height, record.width)
        return read_packed(video.packed, wanted, crop=part, threads=threads)
    convert = _Converter(crop)
    if video.pictures is not None:
        numbers, place = np.unique(wanted, return_inverse=True)
        images = map(convert.cut, iterate_pictures(video.pictures, numbers.tolist()))
        return convert.stacked(video, list(images))[place]
    times = np.unique(video.pts[wanted])
    decoded: dict[int, np.ndarray] = {}
    back = 0
    while len(decoded) < len(times):
        missing = times[len(decoded) :]
        behind = int(np.searchsorted(video.keyframes, missing[0], side="right")) - 1 - back
        start = int(video.keyframes[behind]) if behind > 0 else None
        found = _decode_run(video, missing, start, threads, convert)
        if not found and behind <= 0:
            raise InputError(
                f"{video.path}: frame {np.searchsorted(video.pts, missing[0])} of {len(video)} "
                f"cannot be decoded; the file is damaged: replace it or leave it out"
            )
        # A container may seek by decoding time and land too late: step back a keyframe.
        back = 0 if found else back + 1
        decoded |= found
    return convert.stacked(video, [decoded[int(video.pts[index])] for index in wanted])


class _Converter:
    """Converts frames, or a part of them, to RGB, and sees that they are of one size."""

    def __init__(self, choose: ChooseCrop | None) -> None:
        self._choose = choose
        self._sizes: set[tuple[int, int]] = set()
        self._cutter: Cutter | None = None

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """Convert a frame, (H, W, 3) uint8."""
        if self._choose is None or not Cutter.fits(frame):
            return self.cut(upright(frame))
        cutter = self._cutter_for(frame.height, frame.width)
        return cutter.to_rgb(frame).copy() if len(self._sizes) == 1 else np.empty(0)

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Cut a picture that is RGB already."""
        x, y, width, height = self._cutter_for(*pixels.shape[:2]).crop
        return pixels[y : y + height, x : x + width]

    def stacked(self, video: VideoIndex, images: list[np.ndarray]) -> np.ndarray:
        """Stack what was converted; raises InputError where the picture changes size."""
        if len(self._sizes) > 1:
            raise InputError(
                f"{video.path}: its picture changes size ("
                + ", ".join(f"{width} x {height}" for height, width in sorted(self._sizes))
                + "); encode it anew at one size or leave it out"
            )
        return np.stack(images)

    def _cutter_for(self, height: int, width: int) -> Cutter:
        self._sizes.add((height, width))
        if self._cutter is None:
            whole = (0, 0, width, height)
            self._cutter = Cutter(self._choose(height, width) if self._choose else whole)
        return self._cutter


def _decode_run(
    video: VideoIndex,
    times: np.ndarray,
    start: int | None,
    threads: int,
    convert: Callable[[VideoFrame], np.ndarray],
) -> dict[int, np.ndarray]:
    """Decode those of `times` that follow closely on one keyframe, or on the beginning."""
    found: dict[int, np.ndarray] = {}
    with opened(video.path) as (container, stream):
        stream.thread_type = "NONE" if threads == 1 else "AUTO"
        stream.codec_context.thread_count = threads
        if start is not None:
            container.seek(start, stream=stream, backward=True)
        for number, frame in enumerate(decoded_frames(container, stream)):
            time = number if video.counted else frame.pts
            if time is None or time < times[len(found)]:
                continue
            if time > times[len(found)]:
                break
            found[int(time)] = convert(frame)
            if len(found) == len(times) or _nearer_key(video, times[len(found)], time):
                break
    return found


def _nearer_key(video: VideoIndex, wanted: int, here: int) -> bool:
    """Whether a keyframe lies between the frame just read and the wanted one."""
    first = np.searchsorted(video.keyframes, here, side="right")
    return bool(first < len(video.keyframes) and video.keyframes[first] <= wanted)
