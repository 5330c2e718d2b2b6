"""Backgrounds: video, one of its frames, photographs, black, noise (Table 7), pseudo-motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from smile_motion.backgrounds.base import Background
from smile_motion.backgrounds.origins import check_origin
from smile_motion.backgrounds.sources import (
    BlackBackground,
    ImageBackground,
    NoiseBackground,
    VideoBackground,
    repeat_frames,
)
from smile_motion.errors import InputError
from smile_motion.io.images import cut, find_photographs, read_photograph
from smile_motion.io.options import BackgroundKind, NoiseKind
from smile_motion.video import find_videos, open_index, read_frames


def make_background(
    kind: BackgroundKind,
    *,
    videos: Path | str | None = None,
    images: Path | str | None = None,
    stride: int = 4,
    noise: NoiseKind = "uniform",
    noise_per_frame: bool = False,
) -> Background:
    """Open a background by the name of its kind.

    Args:
        kind: Name of the kind.
        videos: A video, a folder, a tar or a list; for `natural` and `frame`.
        images: A folder of photographs, searched recursively; for `places` and `pseudo-motion`.
        stride: Video frames from one clip frame to the next; for `natural`.
        noise: Kind of noise; for `noise`.
        noise_per_frame: New noise in each frame instead of one repeated image; for `noise`.

    Raises:
        InputError: Videos or images are needed and not given, or there are none.
    """
    match kind:
        case "black":
            return BlackBackground()
        case "noise":
            return NoiseBackground(kind=noise, per_frame=noise_per_frame)
        case "places":
            if images is None:
                raise InputError("background places needs photographs: add --images DIR")
            return ImageBackground(files=find_photographs(Path(images)))
        case "pseudo-motion":
            from smile_motion.backgrounds.pseudo_motion import PseudoMotionBackground

            if images is None:
                raise InputError("background pseudo-motion needs photographs: add --images DIR")
            return PseudoMotionBackground(files=find_photographs(Path(images)))
        case "natural" | "frame":
            if videos is None:
                raise InputError(f"background {kind} needs videos: add --videos FILE, DIR or LIST")
            files = tuple(video.path for video in find_videos(Path(videos)))
            return VideoBackground(files=files, stride=stride, still=kind == "frame")


def redraw(
    origin: dict[str, Any],
    rng: np.random.Generator,
    *,
    frames: int,
    size: tuple[int, int],
    file: Path | None = None,
) -> np.ndarray:
    """Render a background again from its stored origin, so that plans can be shared as clips.

    Args:
        origin: `BackgroundClip.origin`.
        rng: Fresh generator of `Stream.BACKGROUND` of the clip; only noise draws from it.
        frames: Number of frames T; 1 for the scene of a camera.
        size: (height, width) of the original clip, or of its scene, pixels.
        file: Present path of the origin's file; its stored path by default.

    Returns:
        (T, H, W, 3) uint8 RGB.

    Raises:
        InputError: The origin has an unknown kind, or its file cannot be read or has changed.
    """
    described = check_origin(origin)
    place = Path(described.get("file", "")) if file is None else file
    match described:
        case {"kind": "black"}:
            return BlackBackground().draw(rng, index=0, frames=frames, size=size).frames
        case {"kind": "noise", "noise": kind, "per_frame": per_frame}:
            noise = NoiseBackground(kind=kind, per_frame=per_frame)
            return noise.draw(rng, index=0, frames=frames, size=size).frames
        case {"kind": "places", "crop": [x, y, width, height]}:
            images = read_photograph(place)[None]
        case {"kind": "natural" | "frame", "frames": [*numbers], "crop": [x, y, width, height]}:
            if len(numbers) not in (1, frames):
                raise InputError(
                    f"background: frames names {len(numbers)} of {place}, expected 1 or {frames}, "
                    f"as the plan has; render its clip anew"
                )
            images = read_frames(open_index(place), numbers)
        case {"kind": "pseudo-motion"}:
            from smile_motion.backgrounds.pseudo_motion import redraw_pseudo_motion

            return redraw_pseudo_motion(described, frames=frames, size=size, file=file)
        case _:
            raise AssertionError(described)
    if not (0 <= x < x + width <= images.shape[2] and 0 <= y < y + height <= images.shape[1]):
        raise InputError(
            f"{place}: {images.shape[2]} x {images.shape[1]} px, smaller than when its clip was "
            f"made; find the original file"
        )
    return repeat_frames(cut(images, (x, y, width, height), size), frames)
