"""Backgrounds of video, photographs, black and noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smile_motion.backgrounds.base import BackgroundClip
from smile_motion.errors import InputError
from smile_motion.io.images import cut, draw_crop, read_photograph
from smile_motion.io.options import NoiseKind
from smile_motion.video import open_index, read_frames
from smile_motion.video.decoder import Crop
from smile_motion.video.frames import FrameReader
from smile_motion.video.packed import iterate_packed
from smile_motion.video.stretches import DecodedStretches


def noise_images(
    rng: np.random.Generator, kind: NoiseKind, count: int, size: tuple[int, int]
) -> np.ndarray:
    """Draw images of noise.

    Args:
        rng: Generator of the noise.
        kind: Distribution of the pixels; see `NoiseBackground.kind`.
        count: Number of images.
        size: (height, width), pixels.

    Returns:
        (count, H, W, 3) uint8.
    """
    shape = (count, *size, 3)
    if kind == "uniform":
        # The generator's own words, little end first: the bytes of `rng.bytes`, in half the time.
        words = rng.bit_generator.random_raw(-(-math.prod(shape) // 8))
        return words.astype("<u8", copy=False).view(np.uint8)[: math.prod(shape)].reshape(shape)
    return np.stack([_noise_field(rng, kind, size) for _ in range(count)])


def _noise_field(rng: np.random.Generator, kind: NoiseKind, size: tuple[int, int]) -> np.ndarray:
    field_ = rng.standard_normal((*size, 3), dtype=np.float32)
    if kind == "spectral":
        frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None])
        frequency[0, 0] = np.inf
        spectrum = np.fft.rfft2(field_, axes=(0, 1)) / frequency[..., None]
        field_ = np.fft.irfft2(spectrum, s=size, axes=(0, 1))
        field_ = field_ / field_.std()
    return np.clip(np.rint(127.5 + 50 * field_), 0, 255).astype(np.uint8)


def repeat_frames(images: np.ndarray, frames: int, out: np.ndarray | None = None) -> np.ndarray:
    """Fill (frames, H, W, 3) uint8 with one image repeated, or with one image per frame."""
    if out is None:
        if len(images) == frames and images.flags.writeable:
            return images
        out = np.empty((frames, *images.shape[1:]), np.uint8)
    out[:] = images
    return out


class _Cut(ABC):
    """A background of one image repeated, or of as many images as there are frames."""

    def draw(
        self,
        rng: np.random.Generator,
        *,
        index: int,
        frames: int,
        size: tuple[int, int],
        out: np.ndarray | None = None,
    ) -> BackgroundClip:
        """Draw one background; see `Background.draw`."""
        images, origin = self._draw(rng, index, frames, size)
        return BackgroundClip(repeat_frames(images, frames, out), origin)

    @abstractmethod
    def _draw(
        self, rng: np.random.Generator, index: int, frames: int, size: tuple[int, int]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return one image or T images, (1 or T, H, W, 3) uint8, and their origin."""


@dataclass(frozen=True, kw_only=True)
class BlackBackground(_Cut):
    """Black frames (Table 7, black)."""

    is_static = True

    def __len__(self) -> int:
        """Endless."""
        return 0

    def _draw(
        self, rng: np.random.Generator, index: int, frames: int, size: tuple[int, int]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return black frames."""
        return np.zeros((1, *size, 3), np.uint8), {"kind": "black"}


@dataclass(frozen=True, kw_only=True)
class NoiseBackground(_Cut):
    """Random pixels (Table 7, noise): one image, repeated."""

    kind: NoiseKind = "uniform"
    """Uniform over 0..255, Gaussian (mean 127.5, std 50), or with a 1/f spectrum. Ours."""
    per_frame: bool = False
    """Draw a new image for each frame instead of repeating one. Paper: one, repeated."""

    @property
    def is_static(self) -> bool:
        """Whether one image is repeated."""
        return not self.per_frame

    def __len__(self) -> int:
        """Endless."""
        return 0

    def _draw(
        self, rng: np.random.Generator, index: int, frames: int, size: tuple[int, int]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw one noise image, or one a frame."""
        drawn = noise_images(rng, self.kind, frames if self.per_frame else 1, size)
        origin = {"kind": "noise", "noise": self.kind, "per_frame": self.per_frame}
        return drawn, origin


@dataclass(frozen=True, kw_only=True)
class ImageBackground(_Cut):
    """Photographs such as Places-365 (Table 7, image): one, cropped, repeated."""

    files: tuple[Path, ...]
    """Paths of the photographs."""

    is_static = True

    def __len__(self) -> int:
        """Count the photographs."""
        return len(self.files)

    def _draw(
        self, rng: np.random.Generator, index: int, frames: int, size: tuple[int, int]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Crop one photograph."""
        file = self.files[index % len(self.files)]
        image = read_photograph(file)
        crop = draw_crop(rng, image.shape[0], image.shape[1])
        origin = {"kind": "places", "file": str(file), "crop": list(crop)}
        return cut(image[None], crop, size), origin


@dataclass(frozen=True, kw_only=True)
class VideoBackground(_Cut):
    """Natural video, or one of its frames repeated (Table 7, frame)."""

    files: tuple[Path, ...]
    """Paths of the videos."""
    stride: int = 4
    """Video frames from one clip frame to the next. Paper: 4 on K400, 2 on SSv2."""
    still: bool = False
    """Repeat one frame."""
    decoded: DecodedStretches | None = field(default=None, repr=False)
    """Keeps decoded stretches that lie behind several clips. Default: each is decoded anew."""
    reader: FrameReader = field(default=read_frames, repr=False)
    """Decodes frames, where neither `decoded` does nor packed videos' own reader."""

    @property
    def is_static(self) -> bool:
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
        crop_rng: np.random.Generator | None = None,
    ) -> BackgroundClip:
        """Decode and crop a stretch of one video, or one frame of it; see `Background.draw`.

        Args:
            crop_rng: Chooses the crop, where `rng` chooses the stretch alone, which several clips
                share.
        """
        place = None if self.still else out
        images, origin = self._draw(rng, index, frames, size, crop_rng=crop_rng, out=place)
        if images is out:
            return BackgroundClip(images, origin)
        return BackgroundClip(repeat_frames(images, frames, out), origin)

    def _draw(
        self,
        rng: np.random.Generator,
        index: int,
        frames: int,
        size: tuple[int, int],
        *,
        crop_rng: np.random.Generator | None = None,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
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
        if out is None:
            out = np.empty((len(numbers), *size, 3), np.uint8)
        if video.packed is not None and self.decoded is None:  # Convert the crop alone.
            record = video.packed.record
            crop = draw_crop(crop_rng or rng, record.height, record.width)
            parts = iterate_packed(video.packed, numbers, crop=crop)
            cut(parts, (0, 0, *crop[2:]), size, out=out)
        elif self.decoded is None:
            chosen: list[Crop] = []

            def choose(height: int, width: int) -> Crop:
                chosen.append(draw_crop(crop_rng or rng, height, width))
                return chosen[0]

            parts = self.reader(video, numbers, crop=choose)
            (crop,) = chosen
            cut(parts, (0, 0, *crop[2:]), size, out=out)
        else:
            images = self.decoded.read(video, numbers)
            crop = draw_crop(crop_rng or rng, images.shape[1], images.shape[2])
            cut(images, crop, size, out=out)
        origin = {
            "kind": "frame" if self.still else "natural",
            "file": str(file),
            "frames": numbers.tolist(),
            "crop": list(crop),
        }
        return out, origin
