"""An object in its packed form: its levels, silhouette and hull."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import contourpy
import cv2
import numpy as np
import shapely

LEVELS = 6
"""Levels of each object; an object with fewer repeats its last."""
MAX_SIDE_PX = 256
"""Longer side of level 0; objects are shown at up to 192 px in a 224-px frame."""
HULL_SIDES = 16
"""Corners of the convex polygon around an object."""
MIN_SIDE_PX = 8
"""Longer side, pixels, at or below which no smaller level is made."""
SILHOUETTE = 127.5
"""Alpha level of the silhouette, 0 to 255."""


@dataclass(frozen=True, eq=False)
class PackedObject:
    """One object in its packed form."""

    levels: list[np.ndarray]
    """(h + 2, w + 2, 4) uint8 premultiplied RGBA with a transparent border, each half the size of
    the one before."""
    rings: list[np.ndarray]
    """(n, 2) float32 unit coordinates: the silhouette's outer rings, each followed by its holes."""
    ring_is_hole: list[bool]
    """For each ring, whether it is a hole of the last outer ring before it."""
    hull: np.ndarray
    """(HULL_SIDES, 2) float32 unit coordinates: convex polygon around all pixels with alpha > 0."""


def pack_object(rgba: np.ndarray) -> PackedObject:
    """Pack one image, (H, W, 4) uint8 straight-alpha RGBA: an object, or one pose of it."""
    levels = make_levels(rgba)
    alpha = cv2.extractChannel(levels[0], 3)
    rings, holes = trace_silhouette(alpha)
    return PackedObject(levels, rings, holes, hull_polygon(alpha))


def make_levels(rgba: np.ndarray) -> list[np.ndarray]:
    """Premultiply an image, bound its size and halve it repeatedly by area averages.

    Args:
        rgba: (H, W, 4) uint8 straight-alpha RGBA.

    Returns:
        At most `LEVELS` levels; see `PackedObject.levels`.
    """
    from smile_motion.bank._kernels import premultiply

    level = np.empty(rgba.shape, np.float32)
    premultiply(rgba, level)
    factor = MAX_SIDE_PX / max(level.shape[:2])
    if factor < 1:
        height, width = (max(1, round(side * factor)) for side in level.shape[:2])
        level = cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA)
    levels = []
    while True:
        rounded = cv2.convertScaleAbs(level)
        levels.append(cv2.copyMakeBorder(rounded, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0))
        if len(levels) == LEVELS or max(level.shape[:2]) <= MIN_SIDE_PX:
            return levels
        height, width = ((side + 1) // 2 for side in level.shape[:2])
        level = cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA)


def trace_silhouette(alpha: np.ndarray) -> tuple[list[np.ndarray], list[bool]]:
    """Trace the contour of alpha = 0.5 with sub-pixel precision.

    Args:
        alpha: (h + 2, w + 2) uint8 with a transparent border.

    Returns:
        Rings in unit coordinates and which are holes; see `PackedObject`.
    """
    height, width = alpha.shape[0] - 2, alpha.shape[1] - 2
    # contourpy takes twice as long to build the same grid itself.
    grid = np.empty((2, *alpha.shape))
    grid[0], grid[1] = np.arange(width + 2), np.arange(height + 2)[:, None]
    lines = contourpy.contour_generator(
        grid[0], grid[1], alpha.astype(np.float64), fill_type=contourpy.FillType.OuterOffset
    ).filled(SILHOUETTE, 256)
    rings, holes = [], []
    for points, offsets in zip(*lines, strict=True):
        for number, (start, end) in enumerate(pairwise(offsets)):
            ring = shapely.simplify(shapely.LinearRing(points[start:end]), 0.1)
            unit = shapely.get_coordinates(ring)[:-1] - 1 - [(width - 1) / 2, (height - 1) / 2]
            rings.append((unit / [width, height]).astype(np.float32))
            holes.append(number > 0)
    return rings, holes


def hull_polygon(alpha: np.ndarray) -> np.ndarray:
    """Bound all pixels with alpha > 0 by tangents in evenly spaced directions.

    Args:
        alpha: (h + 2, w + 2) uint8 with a transparent border.

    Returns:
        (HULL_SIDES, 2) float32 unit coordinates of the corners, in order.
    """
    solid = alpha > 0
    rows = np.flatnonzero(solid.any(axis=1))
    if not len(rows):  # an empty pose: a point
        return np.zeros((HULL_SIDES, 2), np.float32)
    # The farthest pixel in any direction is the first or last of its row.
    first = solid[rows].argmax(axis=1)
    last = alpha.shape[1] - 1 - solid[rows, ::-1].argmax(axis=1)
    x, y = np.concatenate([first, last]), np.concatenate([rows, rows])
    size = np.array([alpha.shape[1] - 2, alpha.shape[0] - 2])
    centers = (np.stack([x, y], axis=1) - 1 - (size - 1) / 2) / size
    angle = np.arange(HULL_SIDES) * 2 * np.pi / HULL_SIDES
    normal = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    along = centers[:, :1] * normal[:, 0] + centers[:, 1:] * normal[:, 1]
    # A pixel reaches half its width and height beyond its center.
    reach = along.max(axis=0) + (np.abs(normal) * 0.5 / size).sum(axis=1)
    following = np.roll(normal, -1, axis=0), np.roll(reach, -1)
    determinant = normal[:, 0] * following[0][:, 1] - normal[:, 1] * following[0][:, 0]
    corner_x = (reach * following[0][:, 1] - following[1] * normal[:, 1]) / determinant
    corner_y = (normal[:, 0] * following[1] - following[0][:, 0] * reach) / determinant
    return np.stack([corner_x, corner_y], axis=1).astype(np.float32)
