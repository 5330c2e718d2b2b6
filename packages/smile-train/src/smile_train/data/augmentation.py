"""Augmentation of labeled clips: timm's, the same for all frames, from keyed generators."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from smile_motion.errors import InputError
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD, cut
from smile_motion.seeding import Stream, keyed_generator

if TYPE_CHECKING:
    from PIL.Image import Image

CROP_ASPECT = (3 / 4, 4 / 3)
"""Width over height of the crop. VideoMAE."""
CROP_ATTEMPTS = 10
"""Crops drawn before the center is taken. torchvision."""


def draw_area_crop(
    rng: np.random.Generator, height: int, width: int, smallest: float
) -> tuple[int, int, int, int]:
    """Draw a crop by area and aspect ("random resized crop").

    Args:
        rng: What draws.
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        smallest: Share of the frame's area that a crop has at least.

    Returns:
        x, y, width, height in pixels.
    """
    for _ in range(CROP_ATTEMPTS):
        area = height * width * rng.uniform(smallest, 1.0)
        aspect = np.exp(rng.uniform(*np.log(CROP_ASPECT)))
        crop_w, crop_h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < crop_w <= width and 0 < crop_h <= height:
            x = int(rng.integers(width - crop_w + 1))
            y = int(rng.integers(height - crop_h + 1))
            return x, y, crop_w, crop_h
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side, side


def augment(
    images: np.ndarray,
    size: int,
    rng: np.random.Generator,
    *,
    crop_area: float,
    flip: bool,
    rand_augment: str | None,
    erasing: float,
) -> np.ndarray:
    """Crop a clip, and do to all its frames what RandAugment and random erasing do to one.

    Args:
        images: (T, H, W, 3) uint8.
        size: Side of the square frames that come out, pixels.
        crop_area: Share of a frame's area that a crop has at least.
        flip: Mirror half of the clips.
        rand_augment: Timm's description, such as `rand-m7-n4-mstd0.5-inc1`. It comes after the
            crop, as for images; the published code does it before, at several times the cost.
        erasing: Probability that a rectangle becomes noise. Its values, drawn for standardized
            pixels, end at black and white, since clips stay uint8.

    Returns:
        (T, size, size, 3) uint8.
    """
    _, height, width, _ = images.shape
    clip = cut(images, draw_area_crop(rng, height, width, crop_area), (size, size))
    if flip and rng.random() < 0.5:
        clip = clip[:, :, ::-1]
    if rand_augment is not None:
        clip = _rand_augment(clip, rand_augment, int(rng.integers(2**32)))
    if erasing:
        clip = _erase(clip, erasing, int(rng.integers(2**32)))
    return np.ascontiguousarray(clip)


def require_rand_augment(description: str) -> None:
    """Raise InputError where timm does not understand a description of RandAugment."""
    try:
        if not all(re.search(r"\d|^t", part) for part in description.split("-")[1:]):
            raise ValueError("a part without a number")
        _transform(description, 224)
    except (AssertionError, LookupError, ValueError) as error:
        raise InputError(
            f"--rand-augment {description}: not understood ({error}); give timm's description, "
            f"such as rand-m7-n4-mstd0.5-inc1, or none"
        ) from error


def _rand_augment(clip: np.ndarray, description: str, seed: int) -> np.ndarray:
    from PIL import Image

    transform = _transform(description, clip.shape[1])
    frames = []
    for frame in clip:
        with seeded(seed):
            frames.append(np.asarray(transform(Image.fromarray(frame))))
    return np.stack(frames)


@lru_cache(maxsize=8)
def _transform(description: str, size: int) -> Callable[[Image], Image]:
    from timm.data.auto_augment import rand_augment_transform

    gray = tuple(round(255 * mean) for mean in IMAGENET_MEAN)
    return rand_augment_transform(
        description, {"translate_const": int(0.45 * size), "img_mean": gray}
    )


def _erase(clip: np.ndarray, probability: float, seed: int) -> np.ndarray:
    from timm.data.random_erasing import RandomErasing

    frames, height, width, _ = clip.shape
    # Where a rectangle falls is marked by numbers that no pixel has.
    noise = torch.full((3 * frames, height, width), torch.nan)
    with seeded(seed):
        RandomErasing(probability, mode="pixel", device="cpu")(noise)
    drawn = noise.view(frames, 3, height, width).permute(0, 2, 3, 1).numpy()
    values = 255 * (drawn * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN))
    erased = np.nan_to_num(values).clip(0, 255).round().astype(np.uint8)
    return np.where(np.isnan(drawn), clip, erased)


def mix(
    frames: torch.Tensor,
    labels: torch.Tensor,
    numbers: list[int],
    *,
    classes: int,
    mixup: float,
    cutmix: float,
    smoothing: float,
    seed: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix clips with their neighbors (mixup, CutMix) and smooth their labels, as timm does.

    Clips 2k and 2k + 1 are a pair with a share of its own, drawn from the first one's number, so
    that mixing does not depend on how a batch is split. The published code has one share a batch.

    Args:
        frames: (B, T, H, W, 3) float in 0..1, B even where anything is mixed.
        labels: (B,) int64; numbers, B of the samples, as keys.
        mixup: Parameter of the Beta distribution of mixup's shares, 0 for none; cutmix likewise.
            Where both are given, each is used for half of the pairs.

    Returns:
        Frames, and targets (B, classes) that sum to one.
    """
    from timm.data.mixup import Mixup, mixup_target

    if not (mixup or cutmix):
        return frames, mixup_target(labels, classes, smoothing=smoothing)
    mixer = Mixup(mixup, cutmix, mode="pair", label_smoothing=smoothing, num_classes=classes)
    batch, length, height, width, _ = frames.shape
    planes = frames.permute(0, 1, 4, 2, 3).reshape(batch, 3 * length, height, width)
    targets = []
    for place in range(0, batch, 2):
        pair = slice(place, place + 2)
        own = keyed_generator(seed, Stream.MIX, index=numbers[place])
        with seeded(int(own.integers(2**32))):
            planes[pair], target = mixer(planes[pair], labels[pair])
        targets.append(target)
    mixed = planes.view(batch, length, 3, height, width).permute(0, 1, 3, 4, 2)
    return mixed, torch.cat(targets)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators that Python, NumPy and torch (CPU) share, and put them back after.

    timm draws from these alone.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
