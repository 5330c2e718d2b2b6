"""Records of fixed size that a device paints plans from, made on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smile_motion.errors import InputError
from smile_motion.motion.plan import MotionPlan
from smile_motion.renderer._sampling import MARGIN_PX, choose_level, sampling_steps
from smile_motion.renderer.layers import Layers, find_poses, make_layers
from smile_motion.runtime.compiled import compiled

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


WHOLE = ("x0", "x1", "y0", "y1", "stride", "step_u", "step_v", "anchor", "limit_u", "limit_v")
"""Integers of a record, int32: the inclusive range of frame pixels that it may touch (none if x1 <
x0), and the fixed-point steps in its source."""
REAL = ("start_u", "row_u", "start_v", "row_v", "cy")
"""Real numbers of a record, float64."""


class LayerRecords(NamedTuple):
    """Records of B clips of T frames, at P places of the draw order from the bottom up.

    Each place has 1 + S records: one for the id map, then one for each of S exposures. Without
    effects S is 0, and the first record serves for both.
    """

    whole: np.ndarray
    """(B, T, P, 1 + S, 10) int32; see `WHOLE`."""
    base: np.ndarray
    """(B, T, P, 1 + S) int64: start of the level in the bank's pixels, words."""
    real: np.ndarray
    """(B, T, P, 1 + S, 5) float64; see `REAL`."""
    tint: np.ndarray
    """(B, T, P, 4) int32; see `Layers.tint`."""
    label: np.ndarray
    """(B, T, P) uint8: slot + 1; 0 for an empty place or a shadow."""
    poses: np.ndarray
    """(B, K, T) int64: number of the pose that each slot shows, in the bank; 0 for empty slots. Of
    a bank without animated objects (B, K, 1)."""
    maps: np.ndarray
    """(B, K, T, 2, 3) float64: unit coordinates -> frame pixels; NaN for empty slots."""


def make_records(
    plans: Sequence[MotionPlan],
    bank: ObjectBank,
    *,
    objects: int,
    frames: int,
    size: tuple[int, int],
) -> LayerRecords:
    """Convert a batch of plans to records.

    Args:
        plans: The B plans.
        bank: Bank that the plans were made with.
        objects: Number of slots K of each clip.
        frames: Number of frames T that every plan must have.
        size: (height, width), pixels, that every plan must have.

    Raises:
        InputError: A plan has another number of frames, another size or more objects, transforms
            the objects' colors, or has another number of exposures than the others.
    """
    layers = [make_layers(plan) for plan in plans]
    for plan in plans:
        _check(plan, objects, frames, size)
    exposures = {part.exposures.shape[2] for part in layers if not part.plain}
    if len(exposures - {1}) > 1:
        raise InputError(
            f"plans of one batch have {sorted(exposures)} exposures; render them apart"
        )
    count = max(exposures, default=0)
    places = objects * (2 if any(plan.shadow is not None for plan in plans) else 1)
    shape = (len(plans), frames, places, 1 + count)
    records = LayerRecords(
        whole=np.zeros((*shape, len(WHOLE)), np.int32),
        base=np.zeros(shape, np.int64),
        real=np.zeros((*shape, len(REAL)), np.float64),
        tint=np.zeros((*shape[:3], 4), np.int32),
        label=np.zeros(shape[:3], np.uint8),
        poses=np.zeros((len(plans), objects, 1 if bank.pose_start is None else frames), np.int64),
        maps=np.full((len(plans), objects, frames, 2, 3), np.nan),
    )
    records.whole[..., 1] = -1
    for clip, (plan, part) in enumerate(zip(plans, layers, strict=True)):
        _fill(records, clip, plan, part, bank)
    return records


def _fill(
    records: LayerRecords, clip: int, plan: MotionPlan, part: Layers, bank: ObjectBank
) -> None:
    found = find_poses(plan, bank)
    shown = found.poses[found.shown[:, : records.poses.shape[2]]]
    records.poses[clip, : plan.slots] = shown
    records.maps[clip, : plan.slots] = part.maps[: plan.slots]
    maps = part.maps[:, :, None]
    if records.base.shape[3] > 1:
        exposures = part.exposures
        if exposures.shape[2] == 1:  # equal ones have the same mean
            exposures = np.repeat(exposures, records.base.shape[3] - 1, axis=2)
        maps = np.concatenate([maps, exposures], axis=2)
    poses = found.poses
    locate(
        np.ascontiguousarray(part.order),
        maps,
        part.mip_bias,
        part.label,
        part.tint,
        found.shown[part.slot],
        bank.offset[poses] >> 2,
        bank.size[poses],
        bank.hull[poses],
        plan.height,
        plan.width,
        *(array[clip] for array in records[:5]),
    )


def _check(plan: MotionPlan, objects: int, frames: int, size: tuple[int, int]) -> None:
    if (plan.frames, plan.height, plan.width) != (frames, *size):
        raise InputError(
            f"plan has {plan.frames} frames of {plan.height} x {plan.width} px; the renderer was "
            f"made for {frames} of {size[0]} x {size[1]}"
        )
    if plan.slots > objects:
        raise InputError(
            f"plan has {plan.slots} objects, the renderer has room for {objects}; "
            f"make it with max_objects={plan.slots}"
        )
    if plan.appearance is not None:
        raise InputError(
            "appearance changes the objects' own pixels, which a device keeps as they are; "
            "render on the CPU, or leave that effect out"
        )


@compiled()
def locate(
    order, maps, mip_bias, of_layer, tints, source, offset, size, hull, height, width,
    whole, base, real, tint, label,
):  # fmt: skip
    """Fill the records of one clip; see `LayerRecords`.

    order (T, L); maps (L, T, 1 + S, 2, 3); mip_bias, of_layer (labels) (L,); tints (L, T, 4);
    source (L, T), of the N; offset (N, levels) words; size (N, levels, 2); hull (N, n, 2).
    """
    for t in range(order.shape[0]):
        for place in range(order.shape[1]):
            layer = order[t, place]
            thing = source[layer, t]
            label[t, place] = of_layer[layer]
            tint[t, place] = tints[layer, t]
            for s in range(maps.shape[2]):
                map_ = maps[layer, t, s]
                level = choose_level(size[thing], map_, mip_bias[layer])
                if level < 0:
                    continue
                anchor, step_u, step_v, limit_u, limit_v, start_u, row_u, start_v, row_v, _ = (
                    sampling_steps(size[thing, level], map_)
                )
                margin = MARGIN_PX * (1 << mip_bias[layer])
                left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
                for i in range(hull.shape[1]):
                    x = map_[0, 0] * hull[thing, i, 0] + map_[0, 1] * hull[thing, i, 1]
                    y = map_[1, 0] * hull[thing, i, 0] + map_[1, 1] * hull[thing, i, 1]
                    left, right = min(left, x), max(right, x)
                    top, bottom = min(top, y), max(bottom, y)
                cx, cy = map_[0, 2], map_[1, 2]
                into = whole[t, place, s]
                into[0] = max(0, int(np.ceil(left + cx - margin)))
                into[1] = min(width - 1, int(np.floor(right + cx + margin)))
                into[2] = max(0, int(np.ceil(top + cy - margin)))
                into[3] = min(height - 1, int(np.floor(bottom + cy + margin)))
                if into[1] < into[0] or into[3] < into[2]:
                    into[0], into[1] = 0, -1
                    continue
                into[4] = size[thing, level, 0] + 2
                into[5], into[6], into[7] = step_u, step_v, anchor
                into[8], into[9] = limit_u, limit_v
                base[t, place, s] = offset[thing, level]
                numbers = real[t, place, s]
                numbers[0], numbers[1] = start_u, row_u
                numbers[2], numbers[3] = start_v, row_v
                numbers[4] = cy
