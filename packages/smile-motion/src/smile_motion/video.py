"""Videos: finding them, reading them by exact frame index, writing them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from smile_motion.errors import InputError

SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".ts")
"""Files that count as videos when a folder is searched."""


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

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.pts)


@dataclass(frozen=True)
class ListedVideo:
    """A video as a list or a folder names it."""

    path: Path
    """The file."""
    label: str | None
    """What follows the path in a list, if anything."""


def find_videos(source: Path) -> list[ListedVideo]:
    """Find the videos that a path means.

    source  a video, a folder (searched to the bottom, sorted), or a list with lines `path`,
            `path label` or `path,label`; relative paths start at the list's folder.
    Raises InputError when there are none, or a line names no file.
    """
    if source.is_dir():
        found = sorted(
            path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        if not found:
            raise InputError(
                f"{source}: no video below it (looked for {', '.join(SUFFIXES)}); check --videos"
            )
        return [ListedVideo(path, None) for path in found]
    if not source.is_file():
        raise InputError(f"{source}: no such file or folder; check --videos")
    if source.suffix.lower() in SUFFIXES:
        return [ListedVideo(source, None)]
    return _read_list(source)


def _read_list(source: Path) -> list[ListedVideo]:
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}: neither a video ({', '.join(SUFFIXES)}) nor a text list; check --videos"
        ) from error
    videos = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, label = _split_line(line.strip(), source.parent)
        if path is None:
            raise InputError(
                f"{source}:{number}: {line.strip()}: names no file; "
                f"correct the line, or give paths relative to {source.parent}"
            )
        videos.append(ListedVideo(path, label))
    if not videos:
        raise InputError(f"{source}: an empty list; write a line per video: path label")
    return videos


def _split_line(line: str, folder: Path) -> tuple[Path | None, str | None]:
    """Take the longest leading part of a line that names a file; the rest is the label."""
    cuts = [len(line)]
    cuts += [at for at in range(len(line) - 1, 0, -1) if line[at] in " \t,"]
    for cut in cuts:
        path = folder / line[:cut].rstrip(" \t,").strip('"')
        if path.is_file():
            return path, line[cut:].strip(" \t,") or None
    return None, None


def index_video(path: Path) -> VideoIndex:
    """Read where a video's frames are, without decoding them.

    Raises InputError when the file is missing, empty, torn, or has no video in it.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        shown, keys = [], []
        for packet in container.demux(stream):
            if packet.pts is None or packet.is_discard:
                continue
            shown.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
    if not shown or not keys:
        raise InputError(f"{path}: no frame can be found in it; replace it or leave it out")
    return VideoIndex(
        path=path,
        pts=np.unique(np.array(shown, np.int64)),
        keyframes=np.unique(np.array(keys, np.int64)),
        rate_hz=rate,
    )


def read_frames(video: VideoIndex, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Decode frames by number.

    indices  frame numbers in any order, repeats allowed, each below len(video).
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
        found = _decode_run(video, missing, int(video.keyframes[behind]) if behind > 0 else None)
        if not found and behind <= 0:
            raise InputError(
                f"{video.path}: frame {np.searchsorted(video.pts, missing[0])} of {len(video)} "
                f"cannot be decoded; the file is damaged: replace it or leave it out"
            )
        # A container may seek by decoding time and land too late: step back a keyframe.
        back = 0 if found else back + 1
        decoded |= found
    return np.stack([decoded[int(video.pts[index])] for index in wanted])


def _decode_run(video: VideoIndex, times: np.ndarray, start: int | None) -> dict[int, np.ndarray]:
    """Decode as many of `times` as follow closely on a keyframe, or on the beginning."""
    found: dict[int, np.ndarray] = {}
    with _opened(video.path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        if start is not None:
            container.seek(start, stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts is None or frame.pts < times[len(found)]:
                continue
            if frame.pts > times[len(found)]:
                break
            found[int(frame.pts)] = frame.to_ndarray(format="rgb24")
            if len(found) == len(times) or _nearer_key(video, times[len(found)], frame.pts):
                break
    return found


def _nearer_key(video: VideoIndex, wanted: int, here: int) -> bool:
    """Whether a keyframe lies between the frame just read and the wanted one."""
    first = np.searchsorted(video.keyframes, here, side="right")
    return bool(first < len(video.keyframes) and video.keyframes[first] <= wanted)


@contextmanager
def _opened(path: Path) -> Iterator:
    """Open a video and name the file in whatever goes wrong inside."""
    import av
    import av.error

    if not path.is_file():
        raise InputError(f"{path}: no such video; check the path or the list that names it")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: empty (0 bytes); replace it or leave it out")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no picture in it; replace it or leave it out")
            yield container
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: not a readable video ({reason}); replace it or leave it out"
        ) from error


def write_video(
    path: Path, frames: np.ndarray, *, rate_hz: float = 8.0, lossless: bool = False
) -> None:
    """Write an mp4; the same frames always give the same bytes.

    frames    (T, H, W, 3) uint8 RGB; sides even unless `lossless`.
    lossless  RGB H.264, exact to the bit; otherwise H.264 4:2:0 at crf 18, for any player.
    The file appears under its name when it is whole.
    """
    import av

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    codec, pixel_format, options = (
        ("libx264rgb", "rgb24", {"qp": "0", "preset": "ultrafast"})
        if lossless
        else ("libx264", "yuv420p", {"crf": "18", "preset": "veryfast"})
    )
    try:
        with av.open(
            str(temporary), "w", format="mp4", options={"movflags": "faststart"}
        ) as container:
            rate = Fraction(rate_hz).limit_denominator(1001)
            stream = container.add_stream(codec, rate=rate, options=options | {"threads": "1"})
            stream.width, stream.height = frames.shape[2], frames.shape[1]
            stream.pix_fmt = pixel_format
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def encode_animation(frames: np.ndarray, *, rate_hz: float = 8.0, quality: int = 80) -> bytes:
    """Encode an endless animated WebP from (T, H, W, 3) uint8 RGB."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
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
