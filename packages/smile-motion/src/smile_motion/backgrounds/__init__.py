"""What lies behind the objects: video, a still of it, a photograph, black, noise (Table 7)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from smile_motion.backgrounds.origins import check_origin
from smile_motion.backgrounds.sources import noise_images
from smile_motion.choices import BackgroundKind, NoiseKind
from smile_motion.errors import InputError
from smile_motion.io.cropping import cut, draw_crop
from smile_motion.io.photographs import find_photographs, read_photograph
from smile_motion.video import find_videos, open_index, read_frames


@dataclass(frozen=True, eq=False)
class BackgroundClip:
    """A background, cut to size."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB; writable."""
    origin: dict[str, Any]
    """Where it comes from, as JSON values, exactly enough for `redraw`."""


class Background(Protocol):
    """A collection of backgrounds. `len` counts its files; 0 means it is endless."""

    @property
    def is_still(self) -> bool:
        """Whether one image is repeated in all frames."""
        ...

    def __len__(self) -> int:
        """Count the files."""
        ...

    def draw(
        self,
        rng: np.random.Generator,
        *,
        index: int,
        frames: int,
        size: tuple[int, int],
        out: np.ndarray | None = None,
    ) -> BackgroundClip:
        """Cut one background.

        rng     generator of `Stream.BACKGROUND` for this clip: chooses the start and the crop.
        index   selects the file, counted round.
        frames  number of frames T; size (height, width), pixels.
        out     (T, H, W, 3) uint8 to draw into; new frames by default.
        Raises InputError when the file cannot be read or is too short.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class BlackBackground:
    """Nothing at all (Table 7, black)."""

    is_still = True

    def __len__(self) -> int:
        """Endless."""
        return 0

    def draw(
        self,
        rng: np.random.Generator,
        *,
        index: int,
        frames: int,
        size: tuple[int, int],
        out: np.ndarray | None = None,
    ) -> BackgroundClip:
        """Return black frames."""
        black = np.zeros((1, *size, 3), np.uint8)
        return BackgroundClip(_repeated(black, frames, out), {"kind": "black"})


@dataclass(frozen=True, kw_only=True)
class NoiseBackground:
    """Random pixels (Table 7, noise): one image, repeated."""

    kind: NoiseKind = "uniform"
    """Uniform over 0..255, Gaussian (mean 127.5, std 50), or with a 1/f spectrum. Ours."""
    per_frame: bool = False
    """A new image in each frame instead of one repeated. Paper: one repeated."""

    @property
    def is_still(self) -> bool:
        """Whether one image is repeated."""
        return not self.per_frame

    def __len__(self) -> int:
        """Endless."""
        return 0

    def draw(
        self,
        rng: np.random.Generator,
        *,
        index: int,
        frames: int,
        size: tuple[int, int],
        out: np.ndarray | None = None,
    ) -> BackgroundClip:
        """Draw one noise image, or one a frame."""
        drawn = noise_images(rng, self.kind, frames if self.per_frame else 1, size)
        origin = {"kind": "noise", "noise": self.kind, "per_frame": self.per_frame}
        return BackgroundClip(_repeated(drawn, frames, out), origin)


@dataclass(frozen=True, kw_only=True)
class ImageBackground:
    """Photographs such as Places-365 (Table 7, image): one, cropped, repeated."""

    files: tuple[Path, ...]
    """The photographs."""

    is_still = True

    def __len__(self) -> int:
        """Count the photographs."""
        return len(self.files)

    def draw(
        self,
        rng: np.random.Generator,
        *,
        index: int,
        frames: int,
        size: tuple[int, int],
        out: np.ndarray | None = None,
    ) -> BackgroundClip:
        """Crop one photograph."""
        file = self.files[index % len(self.files)]
        image = read_photograph(file)
        crop = draw_crop(rng, image.shape[0], image.shape[1])
        still = cut(image[None], crop, size)
        origin = {"kind": "places", "file": str(file), "crop": list(crop)}
        return BackgroundClip(_repeated(still, frames, out), origin)


@dataclass(frozen=True, kw_only=True)
class VideoBackground:
    """Natural video, or one of its frames repeated (Table 7, frame)."""

    files: tuple[Path, ...]
    """The videos."""
    stride: int = 4
    """Video frames from one clip frame to the next. Paper: 4 on K400, 2 on SSv2."""
    still: bool = False
    """Repeat one frame."""

    @property
    def is_still(self) -> bool:
        """Whether one frame is repeated."""
        return self.still

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise InputError(f"stride is {self.stride}; give 1 or more")

    def __len__(self) -> int:
        """Count the videos."""
        return len(self.files)

    def draw(
        self,
        rng: np.random.Generator,
        *,
        index: int,
        frames: int,
        size: tuple[int, int],
        out: np.ndarray | None = None,
    ) -> BackgroundClip:
        """Decode and crop a stretch of one video, or one frame of it."""
        file = self.files[index % len(self.files)]
        video = open_index(file)
        span = 1 if self.still else (frames - 1) * self.stride + 1
        if len(video) < span:
            raise InputError(
                f"{file}: {len(video)} frames, too short for {frames} at stride {self.stride} "
                f"({span}); lower the stride, ask for fewer frames, or leave it out"
            )
        first = int(rng.integers(0, len(video) - span + 1))
        numbers = np.arange(first, first + span, self.stride)
        images = read_frames(video, numbers)
        crop = draw_crop(rng, images.shape[1], images.shape[2])
        origin = {
            "kind": "frame" if self.still else "natural",
            "file": str(file),
            "frames": numbers.tolist(),
            "crop": list(crop),
        }
        return BackgroundClip(_repeated(cut(images, crop, size), frames, out), origin)


def make_background(
    kind: BackgroundKind,
    *,
    videos: Path | str | None = None,
    images: Path | str | None = None,
    stride: int = 4,
    noise: NoiseKind = "uniform",
    noise_per_frame: bool = False,
) -> Background:
    """Open a kind of background by name.

    videos  for `natural` and `frame`: a video, a folder, or a list.
    images  for `places` and `pseudo-motion`: a folder of photographs, searched to the bottom.
    Raises InputError when what the kind needs is not given or holds nothing.
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
    """Make a background's pixels again from its stored origin, so that plans can be shared in
    place of clips.

    rng     the clip's generator of `Stream.BACKGROUND`, unused; only noise draws from it.
    size    (height, width), pixels, as when it was drawn.
    file    where the origin's file lies now; by default where it lay.
    returns (T, H, W, 3) uint8 RGB.
    Raises InputError when the origin is of no known kind, or its file cannot be read.
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
    return _repeated(cut(images, (x, y, width, height), size), frames)


def _repeated(images: np.ndarray, frames: int, out: np.ndarray | None = None) -> np.ndarray:
    """Fill frames with one image repeated, or with as many images as there are frames."""
    if out is None:
        if len(images) == frames and images.flags.writeable:
            return images
        out = np.empty((frames, *images.shape[1:]), np.uint8)
    out[:] = images
    return out
