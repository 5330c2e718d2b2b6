"""Exact tracks of points on objects and on the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smile_motion.errors import InputError
from smile_motion.motion.camera import surface_maps
from smile_motion.motion.plan import MotionPlan


@dataclass(frozen=True, eq=False)
class PointTracks:
    """Position and visibility of points in every frame."""

    slot: np.ndarray
    """(n,) int64: slot of the object that a point is on; -1 for the background."""
    positions: np.ndarray
    """(n, T, 2) float64 x, y, pixels, also when hidden or outside the frame. Points of the
    background stay, or move as the camera does, which is correct for still backgrounds."""
    visible: np.ndarray
    """(n, T) bool: inside the frame, and its object, or the background, is topmost in the nearest
    pixel."""


def track_points(
    plan: MotionPlan, ids: np.ndarray, points: np.ndarray, frame: int = 0
) -> PointTracks:
    """Track points from one frame to all others.

    Args:
        plan: Motion of the objects.
        ids: (T, H, W) uint8 modal id map of the plan (`Truth.ids`).
        points: (n, 2) x, y in the frame, pixels; each belongs to the topmost object there, or
            to the background.
        frame: Number of the frame that the points are in.

    Raises:
        InputError: The frame does not exist, or a point is outside of it.
    """
    if not 0 <= frame < plan.frames:
        raise InputError(f"frame is {frame}; the clip has frames 0 to {plan.frames - 1}")
    points = np.asarray(points, np.float64).reshape(-1, 2)
    column, row = np.rint(points).astype(np.int64).T
    if not _inside(plan, column, row).all():
        raise InputError(
            f"points lie outside the frame of {plan.height} x {plan.width} px; "
            f"give x, y between -0.5 and the side less a half"
        )
    labels = ids[frame, row, column]
    positions = np.repeat(points[:, None], plan.frames, axis=1)
    maps = surface_maps(plan)
    for label in np.unique(labels if plan.camera is not None else labels[labels > 0]):
        chosen = labels == label
        back = np.linalg.inv(maps[label, frame, :, :2])
        unit = (points[chosen] - maps[label, frame, :, 2]) @ back.T
        moved = np.einsum("tij,nj->nti", maps[label, :, :, :2], unit)
        positions[chosen] = moved + maps[label, :, :, 2]
    column, row = np.rint(positions).astype(np.int64).transpose(2, 0, 1)
    inside = _inside(plan, column, row)
    at = np.broadcast_to(np.arange(plan.frames), column.shape)
    on_top = ids[at, row.clip(0, plan.height - 1), column.clip(0, plan.width - 1)]
    slot = labels.astype(np.int64) - 1
    return PointTracks(slot, positions, inside & (on_top == labels[:, None]))


def _inside(plan: MotionPlan, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    return (column >= 0) & (column < plan.width) & (row >= 0) & (row < plan.height)
