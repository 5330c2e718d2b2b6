"""Crops of images: how they are drawn, cut and resized."""

from __future__ import annotations

import cv2
import numpy as np

CROP_SCALES = (1.0, 0.875, 0.75, 0.66)
"""Shares of the shorter side that a crop's sides are drawn from. Official."""


def draw_crop(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """Draw a multi-scale crop (VideoMAE family): x, y, width, height in pixels.

    Both sides are shares of the shorter side from `CROP_SCALES`, at most one step apart.
    """
    shorter = min(height, width)
    first = int(rng.integers(len(CROP_SCALES)))
    near = [place for place in (first - 1, first, first + 1) if 0 <= place < len(CROP_SCALES)]
    second = near[int(rng.integers(len(near)))]
    crop_w, crop_h = (max(1, int(shorter * CROP_SCALES[place])) for place in (first, second))
    x = int(rng.integers(width - crop_w + 1))
    y = int(rng.integers(height - crop_h + 1))
    return x, y, crop_w, crop_h


def cut(images: np.ndarray, crop: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Crop (n, H, W, 3) uint8 images and resize them to `size` (height, width)."""
    x, y, width, height = crop
    shrinks = width > size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    target = np.empty((len(images), *size, 3), np.uint8)
    for image, place in zip(images, target, strict=True):
        cv2.resize(
            image[y : y + height, x : x + width], (size[1], size[0]), place, interpolation=how
        )
    return target
