"""What moves behind the objects of a motion probe: textures, photographs, videos; or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from smile_motion.backgrounds.pseudo_motion import PseudoMotionBackground
from smile_motion.backgrounds.sources import BlackBackground, VideoBackground, noise_images
from smile_motion.errors import InputError
from smile_motion.io.images import find_photographs
from smile_motion.motion.paths import REFERENCE_PX
from smile_motion.video import find_videos

BackdropName = Literal["texture", "natural", "photographs", "black"]
DRIFT_PX = 6.0
"""Fastest drift of a texture along each axis, pixels a frame at 224."""
PARTS = 3
"""Files are shared out: two thirds to learn from, the rest to test on."""


class Backdrop(Protocol):
    """Draws what lies behind a clip."""

    def draw(self, rng: np.random.Generator, number: int, frames: int, size: int) -> np.ndarray:
        """Return (T, size, size, 3) uint8, writable."""
        ...


@dataclass(frozen=True, kw_only=True)
class Texture:
    """Coloured noise whose spectrum falls as 1/f, drifting at a constant velocity."""

    def draw(self, rng: np.random.Generator, number: int, frames: int, size: int) -> np.ndarray:
        """Draw a texture larger than the frame, and a window that drifts over it."""
        reach = DRIFT_PX * size / REFERENCE_PX
        velocity = rng.uniform(-reach, reach, 2)
        margin = int(np.ceil(np.abs(velocity).max() * (frames - 1) / 2)) + 2
        side = size + 2 * margin
        image = noise_images(rng, "spectral", 1, (side, side))[0]
        image = _recolored(image, rng)
        drawn = np.empty((frames, size, size, 3), np.uint8)
        for t in range(frames):
            x, y = velocity * (t - (frames - 1) / 2) + (side - 1) / 2
            drawn[t] = cv2.getRectSubPix(image, (size, size), (float(x), float(y)))
        return drawn


@dataclass(frozen=True, kw_only=True)
class Files:
    """Backgrounds of smile_motion, clip by clip."""

    background: VideoBackground | PseudoMotionBackground | BlackBackground
    """Where they come from."""

    def draw(self, rng: np.random.Generator, number: int, frames: int, size: int) -> np.ndarray:
        """Draw the background of a file, counted round."""
        drawn = self.background.draw(rng, index=number, frames=frames, size=(size, size))
        return drawn.frames


def open_backdrops(
    kind: BackdropName, *, videos: Path | None, images: Path | None, stride: int
) -> tuple[Backdrop, Backdrop]:
    """Open what lies behind clips to learn from, and behind those of the test: no file is in both.

    Raises:
        InputError: Files are missing, or there are too few to share out.
    """
    match kind:
        case "texture":
            return Texture(), Texture()
        case "black":
            return Files(background=BlackBackground()), Files(background=BlackBackground())
        case "natural":
            if videos is None:
                raise InputError(
                    "--background natural needs videos: add --videos FILE, DIR or LIST"
                )
            found = [video.path for video in find_videos(videos)]
            learn, test = _shared_out(found, f"{videos}: videos", "--videos")
            return (
                Files(background=VideoBackground(files=learn, stride=stride)),
                Files(background=VideoBackground(files=test, stride=stride)),
            )
        case "photographs":
            if images is None:
                raise InputError("--background photographs needs them: add --images DIR")
            learn, test = _shared_out(
                find_photographs(images), f"{images}: photographs", "--images"
            )
            return _moving(learn), _moving(test)


def _moving(files: tuple[Path, ...]) -> Files:
    return Files(
        background=PseudoMotionBackground(
            files=files, changes=("slide", "zoom", "affine"), mixup=0.0
        )
    )


def _shared_out(
    files: Sequence[Path], what: str, option: str
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    if len(files) < PARTS:
        raise InputError(
            f"{what}: {len(files)}; the test part needs others than the rest has: give {PARTS} or "
            f"more, or leave {option} out"
        )
    order = np.random.default_rng(0).permutation(len(files))
    own = [files[number] for number in order]
    return tuple(sorted(own[len(own) // PARTS :])), tuple(sorted(own[: len(own) // PARTS]))


def _recolored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix the colours of an image at random, and change its contrast and brightness."""
    mix = np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))
    mixed = (image.astype(np.float32) - 127.5) @ (rng.uniform(0.3, 1.0) * mix).astype(np.float32)
    return np.clip(mixed + rng.uniform(64, 192, 3), 0, 255).astype(np.uint8)
