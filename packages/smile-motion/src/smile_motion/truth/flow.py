"""Exact optical flow of the objects and the background, computed from the plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smile_motion.errors import InputError
from smile_motion.motion.camera import surface_maps
from smile_motion.motion.plan import MotionPlan


@dataclass(frozen=True, eq=False)
class OpticalFlow:
    """Displacement and occlusion of the surface point at each pixel."""

    vectors: np.ndarray
    """(T - 1, H, W, 2) float32, pixels, x then y: position in the other frame minus position in
    this one.

    On the background it is 0, or the camera's, which is correct for still backgrounds (black,
    noise, image, frame) and wrong for natural video.
    """
    occluded: np.ndarray
    """(T - 1, H, W) bool: the point is hidden or outside in the other frame."""


def optical_flow(plan: MotionPlan, ids: np.ndarray, *, backward: bool = False) -> OpticalFlow:
    """Compute the flow between neighboring frames.

    Args:
        plan: Motion of the objects.
        ids: (T, H, W) uint8 modal id map of the plan (`Truth.ids`).
        backward: Entry t is from frame t + 1 to frame t; otherwise from frame t to frame t + 1.

    Raises:
        InputError: The plan has one frame only.
    """
    if plan.frames < 2:
        raise InputError("optical flow needs two frames; the plan has one")
    maps = surface_maps(plan)
    here, there = (slice(1, None), slice(None, -1)) if backward else (slice(-1), slice(1, None))
    source, target = maps[:, here], maps[:, there]
    seen, other = ids[here], ids[there]
    vectors = np.zeros((*seen.shape, 2), np.float32)
    occluded = other > 0  # without a camera the background stays; an object over it hides it
    for label in range(plan.camera is None, plan.slots + 1):
        for t in range(plan.frames - 1):
            y, x = np.nonzero(seen[t] == label)
            if not len(y):
                continue
            turn = target[label, t, :, :2] @ np.linalg.inv(source[label, t, :, :2])
            points = np.stack([x, y], axis=1).astype(np.float64)
            moved = (points - source[label, t, :, 2]) @ turn.T + target[label, t, :, 2]
            vectors[t, y, x] = moved - points
            column, row = np.rint(moved).astype(np.int64).T
            inside = (column >= 0) & (column < plan.width) & (row >= 0) & (row < plan.height)
            hidden = np.ones(len(y), bool)
            hidden[inside] = other[t, row[inside], column[inside]] != label
            occluded[t, y, x] = hidden
    return OpticalFlow(vectors, occluded)
