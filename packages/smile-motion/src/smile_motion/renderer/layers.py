"""Layers of a plan: flat arrays that all renderers paint from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smile_motion.errors import InputError
from smile_motion.io.options import MOST_POSES
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.transforms import place_objects

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

ONE = 256
"""Neutral tint: tints have 8 fractional bits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """L layers over T frames with S exposures: one per object, and one per shadow.

    A renderer averages the exposures of a layer, multiplies the mean by the tint, clamps colors to
    alpha, and composites the result over the frame, in `order`. The id map is set where the alpha
    of `maps`, without tint, is at least one half.
    """

    slot: np.ndarray
    """(L,) int64: slot of the layer's object."""
    maps: np.ndarray
    """(L, T, 2, 3) float64: unit coordinates -> frame pixels, as `MotionPlan.placement`."""
    exposures: np.ndarray
    """(L, T, S, 2, 3) float64: the same maps at the S instants of motion blur; S is 1 without."""
    tint: np.ndarray
    """(L, T, 4) int32: factors on premultiplied red, green, blue and alpha, 256 for 1."""
    mip_bias: np.ndarray
    """(L,) int64: offset of the source level towards coarser ones, to blur a shadow."""
    label: np.ndarray
    """(L,) uint8: slot + 1; 0 for a shadow, which is not in the id map."""
    order: np.ndarray
    """(T, L) int64: layers from the bottom up."""
    plain: bool
    """Whether there is one exposure, no tint and no shadow."""


def make_layers(plan: MotionPlan) -> Layers:
    """Convert a plan to layers."""
    maps = plan.placement()
    slots, frames = plan.angle_deg.shape
    label = np.arange(1, slots + 1, dtype=np.uint8)
    tint = np.full((slots, frames, 4), ONE, np.int32)
    if plan.tint is not None:
        tint[..., :3] = np.rint(plan.tint * ONE)
    exposures = maps[:, :, None] if plan.blur is None else _exposures(plan)
    slot, order = np.arange(slots), np.ascontiguousarray(plan.order)
    mip_bias = np.zeros(slots, np.int64)
    if plan.shadow is not None:
        shift = np.zeros((2, 3))
        shift[:, 2] = plan.shadow.offset
        dark = np.zeros_like(tint)
        dark[..., 3] = round(plan.shadow.opacity * ONE)
        steps = round(np.log2(max(plan.shadow.softness, 1)))
        slot = np.concatenate([slot, slot])
        maps = np.concatenate([maps, maps + shift])
        exposures = np.concatenate([exposures, exposures + shift])
        tint = np.concatenate([tint, dark])
        mip_bias = np.concatenate([mip_bias, np.full(slots, steps)])
        label = np.concatenate([label, np.zeros_like(label)])
        order = np.stack([order + slots, order], axis=2).reshape(frames, -1)
    return Layers(
        slot=slot,
        maps=maps,
        exposures=exposures,
        tint=tint,
        mip_bias=mip_bias,
        label=label,
        order=order,
        plain=plan.blur is None and plan.tint is None and plan.shadow is None,
    )


class Sources(NamedTuple):
    """The S poses of a bank that a plan's objects show; each slot has its own."""

    poses: np.ndarray
    """(S,) int64: number of each pose in the bank."""
    slot: np.ndarray
    """(S,) int64: slot of the object."""
    own: np.ndarray
    """(S,) int64: number of the pose within its object."""
    shown: np.ndarray
    """(K, T) int64: source of each slot in each frame."""


def find_poses(plan: MotionPlan, bank: ObjectBank) -> Sources:
    """Find the poses that a plan's objects show.

    Args:
        plan: Motion of the objects.
        bank: Bank that the plan was made with.

    Raises:
        InputError: The bank lacks an object or a pose.
    """
    slots = np.arange(plan.slots)
    if plan.slots and not 0 <= plan.objects.min() <= plan.objects.max() < len(bank):
        raise InputError(
            f"plan names object {plan.objects.max()}, {bank.name} has {len(bank)}; "
            f"open the bank that the plan was made with"
        )
    first = bank.first_pose(plan.objects)
    if plan.pose is None or not plan.slots:
        shown = np.repeat(slots[:, None], plan.frames, axis=1)
        return Sources(poses=first, slot=slots, own=np.zeros_like(slots), shown=shown)
    count = bank.count_poses(plan.objects)
    if (lacking := plan.pose.max(axis=1) >= count).any():
        slot = int(lacking.argmax())
        raise InputError(
            f"plan shows pose {plan.pose[slot].max()} of object {plan.objects[slot]}, which has "
            f"{count[slot]} in {bank.name}; open the bank that the plan was made with"
        )
    key, shown = np.unique(slots[:, None] * MOST_POSES + plan.pose, return_inverse=True)
    slot, own = key // MOST_POSES, key % MOST_POSES
    return Sources(first[slot] + own, slot, own, shown.reshape(plan.pose.shape))


def _exposures(plan: MotionPlan) -> np.ndarray:
    """Compute the maps at the instants of motion blur; velocity is constant beyond the ends."""
    assert plan.blur is not None
    times = np.arange(plan.frames)[:, None] + plan.blur.offsets()
    first = np.clip(np.floor(times).astype(np.int64), 0, max(plan.frames - 2, 0))
    part = times - first if plan.frames > 1 else np.zeros_like(times)
    after = np.minimum(first + 1, plan.frames - 1)

    def at(values: np.ndarray) -> np.ndarray:
        share = part.reshape(*part.shape, *[1] * (values.ndim - 2))
        moments = values[:, first] * (1 - share) + values[:, after] * share
        return moments.reshape(len(values), times.size, *values.shape[2:])

    maps = place_objects(plan.base_size, at(plan.scale), at(plan.angle_deg), at(plan.centre))
    return maps.reshape(plan.slots, *times.shape, 2, 3)
