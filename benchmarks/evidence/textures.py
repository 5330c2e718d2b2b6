"""Textures of floors, backdrops and bodies; the two parts of the data have kinds of their own."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

TextureKind = Literal["clouds", "checks", "blobs", "stripes", "cells", "marble"]
KINDS: dict[str, tuple[TextureKind, ...]] = {
    "train": ("clouds", "checks", "blobs"),
    "validation": ("stripes", "cells", "marble"),
}
"""Kinds of each part of the data."""


def draw_texture(rng: np.random.Generator, kind: TextureKind, size: tuple[int, int]) -> np.ndarray:
    """Draw an image between two random colors, (H, W, 3) uint8."""
    height, width = size
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    match kind:
        case "clouds":
            share = (
                sum(scale * _smooth(rng, size, scale * width) for scale in (0.02, 0.06, 0.15))
                / 0.23
            )
            share = _stretched(share)
        case "checks":
            cell = width / rng.integers(4, 13)
            share = ((rows // cell + columns // cell) % 2) * 1.0
        case "blobs":
            share = (_smooth(rng, size, width * rng.uniform(0.03, 0.08)) > 0) * 1.0
        case "stripes":
            angle, cycles = rng.uniform(0, np.pi), rng.integers(3, 10)
            along = (np.cos(angle) * columns + np.sin(angle) * rows) / width
            share = (np.sin(2 * np.pi * cycles * along) > rng.uniform(-0.5, 0.5)) * 1.0
        case "cells":
            points = rng.uniform(0, 1, (int(rng.integers(12, 40)), 2)) * size
            away = np.hypot(rows[..., None] - points[:, 0], columns[..., None] - points[:, 1])
            share = rng.random(len(points))[away.argmin(-1)]
        case "marble":
            warp = 4 * _stretched(_smooth(rng, size, width * 0.08))
            share = 0.5 + 0.5 * np.sin(2 * np.pi * (rng.integers(2, 5) * columns / width + warp))
    low, high = draw_colors(rng, 2)
    return np.rint(255 * (low + share[..., None] * (high - low))).astype(np.uint8)


def draw_colors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw colors that are neither black nor white, (count, 3) in 0..1."""
    return rng.uniform(0.1, 0.95, (count, 3))


def _smooth(rng: np.random.Generator, size: tuple[int, int], sigma: float) -> np.ndarray:
    field = gaussian_filter(rng.standard_normal(size), sigma, mode="wrap")
    return field / field.std()


def _stretched(field: np.ndarray) -> np.ndarray:
    return np.clip((field - field.min()) / np.ptp(field), 0, 1)
