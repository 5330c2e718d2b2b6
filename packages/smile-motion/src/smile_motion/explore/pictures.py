"""A clip's views as pictures inside the page: no file is written or served for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from smile_motion.explore.showing import Shown
from smile_motion.io.markup import Markup, element
from smile_motion.preview import animation, draw_mask, draw_overlay

RATE_HZ = 8.0
"""Frames a second."""
QUALITY = 75
"""Of the pictures, of 100: in time, what decides is encoding them."""
SLOWEST_PX = 4.0
"""Flow whose strongest colour stands for at least so many pixels a frame."""


def views_html(shown: Shown) -> Markup:
    """Four animations: the clip, what is true of it, its mask, its flow."""
    clip = shown.clip
    views = [
        ("clip", "Clip", clip.frames),
        ("overlay", "Trajectories, boxes, polygons", draw_overlay(clip)),
        (
            "mask",
            f"Token mask, {len(shown.mask.masked) / shown.grid.tokens:.0%} hidden",
            draw_mask(clip, shown.grid, shown.mask),
        ),
    ]
    if clip.plan.frames > 1:
        vectors = clip.truth.flow().vectors
        reach = f"{flow_reach(vectors):.0f} px a frame at full colour"
        views.append(("flow", f"Optical flow, {reach}", draw_flow(vectors)))
    # Pillow encodes without the interpreter's lock.
    with ThreadPoolExecutor(len(views)) as pool:
        encoded = pool.map(lambda view: animation(view[2], rate_hz=RATE_HZ, quality=QUALITY), views)
        figures = [
            element(
                "figure",
                element("img", id=f"view-{name}", alt=title, src=source),
                element("figcaption", title),
            )
            for (name, title, _), source in zip(views, encoded, strict=True)
        ]
    return element("div", figures, class_="views")


def flow_reach(vectors: np.ndarray) -> float:
    """The length that full colour stands for, pixels a frame."""
    return max(SLOWEST_PX, float(np.linalg.norm(vectors, axis=-1).max(initial=0.0)))


def draw_flow(vectors: np.ndarray) -> np.ndarray:
    """Flow as colours: hue is direction (red is to the right), colour strength is speed.

    vectors  (T - 1, H, W, 2) float32, pixels, x then y.
    returns  (T, H, W, 3) uint8 RGB, white where nothing moves; the last frame has that of
             the one before.
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
