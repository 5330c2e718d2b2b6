"""Boxes of silhouettes, whole and clipped to the frame, on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


@dataclass(frozen=True, eq=False)
class Outlines:
    """The silhouette rings of a bank's poses, as tensors."""

    points: Tensor
    """(n, 2) float64: points of all rings, unit coordinates."""
    after: Tensor
    """(n,) int64: index of the next point of the same ring."""
    start: Tensor
    """(P + 1,) int64: pose i has the points start[i] to start[i + 1] - 1."""
    longest: int
    """Largest number of points of a pose."""

    @classmethod
    def of(cls, bank: ObjectBank, device: torch.device) -> Outlines:
        """Copy a bank's outlines to a device."""
        points, ring_start, point_start = bank.all_rings()
        after = np.arange(1, len(points) + 1)
        after[ring_start[1:] - 1] = ring_start[:-1]
        return cls(
            torch.as_tensor(points.astype(np.float64), device=device),
            torch.as_tensor(after, device=device),
            torch.as_tensor(point_start, device=device),
            int(np.diff(point_start).max(initial=1)),
        )


def bound_outlines(
    outlines: Outlines, poses: Tensor, maps: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Compute the boxes of outlines in every frame; see `Truth.full_boxes` and `Truth.boxes`.

    Args:
        outlines: Outlines of the bank's poses.
        poses: (B, K, T) int64: pose of each slot in each frame, or (B, K, 1), of all frames.
        maps: (B, K, T, 2, 3) float64: unit coordinates -> frame pixels; NaN for empty slots.
        size: (height, width), pixels.

    Returns:
        Two (B, K, T, 4) float64: x0, y0, x1, y1 of the whole outline, and of its part inside the
        frame; NaN if there is none, as of an empty pose.
    """
    height, width = size
    first, last = outlines.start[poses], outlines.start[poses + 1] - 1
    number = first[..., None] + torch.arange(outlines.longest, device=poses.device)
    # (B, K, T or 1, n): the last point again and again.
    number = torch.minimum(number, last[..., None])
    here = _place(outlines.points[number], maps)
    there = _place(outlines.points[outlines.after[number]], maps)
    full = torch.cat([here.amin(dim=3), here.amax(dim=3)], dim=-1)

    low = maps.new_full((2,), -0.5)
    high = torch.stack([maps.new_full((), width - 0.5), maps.new_full((), height - 0.5)])
    step = there - here
    # Where along an edge it enters and leaves the strip between two sides (Liang and Barsky).
    one, other = (low - here) / step, (high - here) / step
    flat = step == 0
    within = (here >= low) & (here <= high)
    enter = torch.where(flat, torch.where(within, 0.0, torch.inf), torch.minimum(one, other))
    leave = torch.where(flat, torch.where(within, 1.0, -torch.inf), torch.maximum(one, other))
    enter = enter.amax(dim=-1, keepdim=True).clamp(min=0)
    leave = leave.amin(dim=-1, keepdim=True).clamp(max=1)
    ends = torch.cat([here + enter * step, here + leave * step], dim=3)
    crosses = (enter <= leave).repeat(1, 1, 1, 2, 1)
    least = torch.where(crosses, ends, torch.inf).amin(dim=3)
    most = torch.where(crosses, ends, -torch.inf).amax(dim=3)

    # A corner of the frame is inside where an odd number of edges pass to its right.
    again = torch.zeros_like(number, dtype=torch.bool)
    again[..., 1:] = number[..., 1:] == number[..., :-1]
    for corner_x in (low[0], high[0]):
        for corner_y in (low[1], high[1]):
            spans = (here[..., 1] > corner_y) != (there[..., 1] > corner_y)
            meets = here[..., 0] + (corner_y - here[..., 1]) / step[..., 1] * step[..., 0]
            passed = spans & (corner_x < meets) & ~again
            inside = (passed.sum(dim=3) % 2 == 1)[..., None]
            corner = torch.stack([corner_x, corner_y])
            least = torch.where(inside, torch.minimum(least, corner), least)
            most = torch.where(inside, torch.maximum(most, corner), most)
    empty = ~((least < most).all(dim=-1, keepdim=True))
    cut = torch.where(empty, torch.nan, torch.cat([least, most], dim=-1))
    clear = ((full[..., :2] >= low) & (full[..., 2:] <= high)).all(dim=-1, keepdim=True)
    none = (first > last)[..., None]
    full = torch.where(none, torch.nan, full)
    return full, torch.where(clear | none, full, cut)


def _place(points: Tensor, maps: Tensor) -> Tensor:
    """Place points (B, K, T or 1, n, 2) by maps (B, K, T, 2, 3): (B, K, T, n, 2)."""
    across, down = points[..., 0:1], points[..., 1:2]
    a, b, c = (maps[:, :, :, None, :, i] for i in range(3))
    return a * across + b * down + c
