"""Pictures of a clip and its truth: outlines, token masks, coverage, optical flow."""

from __future__ import annotations

import cv2
import numpy as np

from smile_motion.clips.clip import Clip
from smile_motion.masking.masks import TokenMask
from smile_motion.tokens import TokenGrid

SLOWEST_PX = 4.0
"""Smallest speed that full color saturation stands for, pixels a frame."""


def flow_reach(vectors: np.ndarray) -> float:
    """Return the speed that full color saturation stands for, pixels a frame."""
    return max(SLOWEST_PX, float(np.linalg.norm(vectors, axis=-1).max(initial=0.0)))


def draw_flow(vectors: np.ndarray) -> np.ndarray:
    """Draw optical flow as colors: hue is direction (red is right), saturation is speed.

    Args:
        vectors: (T - 1, H, W, 2) float32, pixels, x then y.

    Returns:
        (T, H, W, 3) uint8 RGB, white where nothing moves; the last frame repeats the flow of the
        one before.
    """
    length = np.linalg.norm(vectors, axis=-1) / flow_reach(vectors)
    direction = np.degrees(np.arctan2(-vectors[..., 1], vectors[..., 0])) % 360
    hsv = np.empty((*vectors.shape[:3], 3), np.uint8)
    hsv[..., 0] = direction / 2  # OpenCV's hue in 8 bits is half the angle
    hsv[..., 1] = np.sqrt(np.clip(length, 0, 1)) * 255
    hsv[..., 2] = 255
    flat = cv2.cvtColor(hsv.reshape(-1, vectors.shape[2], 3), cv2.COLOR_HSV2RGB)
    pictures = flat.reshape(*vectors.shape[:3], 3)
    return np.concatenate([pictures, pictures[-1:]])


COLORS = ((255, 196, 0), (0, 214, 255), (255, 92, 138), (122, 230, 96), (190, 130, 255))
"""RGB of the first, second, … object's lines."""
ZOOM = 2
"""Picture pixels per clip pixel in overlays, so that lines are finer than pixels."""


def draw_overlay(clip: Clip) -> np.ndarray:
    """Draw boxes, silhouettes and center paths of the objects over a clip.

    Returns:
        (T, ZOOM * H, ZOOM * W, 3) uint8 RGB.
    """
    truth, plan = clip.truth, clip.plan
    pictures = []
    for t, frame in enumerate(clip.frames):
        picture = cv2.resize(frame, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
        for slot in range(plan.slots):
            color = COLORS[slot % len(COLORS)]
            path = _points(plan.centre[slot])
            cv2.polylines(picture, [path], False, color, 1, cv2.LINE_AA, _SHIFT)
            cv2.polylines(picture, [path[: t + 1]], False, color, 3, cv2.LINE_AA, _SHIFT)
            shape = truth.polygons[slot][t]
            for part in getattr(shape, "geoms", [shape]):
                for ring in (part.exterior, *part.interiors):
                    points = [_points(np.array(ring.coords))]
                    cv2.polylines(picture, points, True, color, 2, cv2.LINE_AA, _SHIFT)
            cv2.circle(picture, path[t].tolist(), 4 << _SHIFT, color, -1, cv2.LINE_AA, _SHIFT)
            box = truth.boxes[slot, t]
            if np.isfinite(box).all():
                low, high = _points(box.reshape(2, 2)).tolist()
                cv2.rectangle(picture, low, high, color, 1, cv2.LINE_AA, _SHIFT)
        pictures.append(picture)
    return np.stack(pictures)


def draw_mask(clip: Clip, grid: TokenGrid, mask: TokenMask) -> np.ndarray:
    """Show the visible tokens of a mask; masked tokens are gray.

    Returns:
        (T, H, W, 3) uint8 RGB.
    """
    seen = np.zeros(grid.tokens, bool)
    seen[mask.visible] = True
    return np.where(grid.upsample(seen.reshape(grid.shape))[..., None], clip.frames, 96).astype(
        np.uint8
    )


def draw_tokens(clip: Clip, grid: TokenGrid) -> np.ndarray:
    """Draw the share of each token that the objects cover: brighter is more, in their colors.

    Returns:
        (T, ZOOM * H, ZOOM * W, 3) uint8 RGB.
    """
    coverage = clip.truth.token_coverage(grid)
    colors = np.array([COLORS[slot % len(COLORS)] for slot in range(len(coverage))])
    light = np.einsum("ktrc,kd->trcd", coverage, colors.reshape(-1, 3))
    ground = (clip.frames.mean(axis=3, keepdims=True) * 0.25).repeat(3, axis=3)
    pictures = np.clip(ground + grid.upsample(light), 0, 255).astype(np.uint8)
    pictures = pictures.repeat(ZOOM, axis=1).repeat(ZOOM, axis=2)
    step = grid.patch * ZOOM
    pictures[:, ::step] = pictures[:, ::step] // 2 + 24
    pictures[:, :, ::step] = pictures[:, :, ::step] // 2 + 24
    return pictures


_SHIFT = 4


def _points(points: np.ndarray) -> np.ndarray:
    """Convert clip coordinates to fixed-point coordinates of the zoomed picture."""
    zoomed = (points + 0.5) * ZOOM - 0.5
    return np.rint(zoomed * (1 << _SHIFT)).astype(np.int32)
