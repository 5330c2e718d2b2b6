"""Reading videos by exact frame number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from smile_motion.errors import InputError
from smile_motion.video.decoder import decoded_frames, opened, upright
from smile_motion.video.index import VideoIndex
from smile_motion.video.packed import read_packed
from smile_motion.video.pictures import iterate_pictures


def read_frames(
    video: VideoIndex, indices: Sequence[int] | np.ndarray, *, threads: int = 1
) -> np.ndarray:
    """Decode frames by number, upright as players show them.

    Args:
        video: Index of the video.
        indices: (n,) frame numbers in any order, repeats allowed, each below len(video).
        threads: Decoding threads; data loaders use processes instead.

    Returns:
        (n, H, W, 3) uint8 RGB, in the order asked for.

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
        return read_packed(video.packed, wanted, threads=threads)
    if video.pictures is not None:
        numbers, place = np.unique(wanted, return_inverse=True)
        images = list(iterate_pictures(video.pictures, numbers.tolist()))
        _require_one_size(video, images)
        return np.stack(images)[place]
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
    _require_one_size(video, decoded.values())
    return np.stack([decoded[int(video.pts[index])] for index in wanted])


def _require_one_size(video: VideoIndex, images: Iterable[np.ndarray]) -> None:
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise InputError(
            f"{video.path}: its picture changes size ("
            + ", ".join(f"{width} x {height}" for height, width, _ in sorted(sizes))
            + "); encode it anew at one size or leave it out"
        )


def _decode_run(
    video: VideoIndex, times: np.ndarray, start: int | None, threads: int
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
            found[int(time)] = upright(frame)
            if len(found) == len(times) or _nearer_key(video, times[len(found)], time):
                break
    return found


def _nearer_key(video: VideoIndex, wanted: int, here: int) -> bool:
    """Whether a keyframe lies between the frame just read and the wanted one."""
    first = np.searchsorted(video.keyframes, here, side="right")
    return bool(first < len(video.keyframes) and video.keyframes[first] <= wanted)
