"""Compositing a plan's objects onto background frames, on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from smile_motion.errors import InputError
from smile_motion.layers import make_layers
from smile_motion.plan import MotionPlan

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


def render(
    background: np.ndarray, plan: MotionPlan, bank: ObjectBank, *, ids: np.ndarray | None = None
) -> np.ndarray:
    """Put the plan's objects on top of a background.

    background  (T, H, W, 3) uint8 RGB; it is painted in place and returned when writable and
                contiguous, else a painted copy is returned.
    ids         (T, H, W) uint8 to be filled with the modal id map (`Truth.ids`), if wanted: it
                costs almost nothing here.
    returns     (T, H, W, 3) uint8: premultiplied alpha, one bilinear resampling, sub-pixel
                placement.
    Raises InputError when the background's size is not the plan's.
    """
    expected = (plan.frames, plan.height, plan.width, 3)
    if background.shape != expected or background.dtype != np.uint8:
        raise InputError(
            f"background is {background.dtype} {background.shape}; the plan needs uint8 {expected}"
        )
    frames = np.require(background, requirements=["C", "W"])
    paint(frames, ids if ids is not None else np.empty(expected[:3], np.uint8), plan, bank)
    return frames


def paint(
    frames: np.ndarray | None, ids: np.ndarray, plan: MotionPlan, bank: ObjectBank
) -> np.ndarray:
    """Paint frames (when given) and the id map in place.

    returns (K, T) int64: pixels of each object inside the frame with alpha >= 0.5, hidden ones
    included.
    """
    from smile_motion._raster import composite

    rows = np.empty((1, 1, 1), np.uint8)
    if frames is not None:
        rows = frames.reshape(*frames.shape[:2], -1)
    layers = make_layers(plan)
    sources = _repainted(plan, bank) if plan.appearance is not None else _stored(plan, bank)
    objects = sources.objects[layers.slot]
    if frames is not None and not layers.plain:
        from smile_motion._exposing import composite_exposures

        composite_exposures(
            rows,
            layers.order,
            layers.exposures,
            layers.tint,
            layers.coarser,
            objects,
            *sources.pixels,
        )
    covered = composite(
        rows,
        ids,
        layers.order,
        layers.maps,
        objects,
        layers.label,
        *sources.pixels,
        frames is not None and layers.plain,
    )
    return covered[: plan.slots]


@dataclass(frozen=True, eq=False)
class _Sources:
    """Where the pixels of a plan's objects are."""

    objects: np.ndarray
    """(K,) int64: each slot's source."""
    pixels: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """words, offset, size and cover as `composite` takes them."""


def _stored(plan: MotionPlan, bank: ObjectBank) -> _Sources:
    return _Sources(plan.objects, (bank.pixels.view(np.uint32), bank.offset, bank.size, bank.cover))


def _repainted(plan: MotionPlan, bank: ObjectBank) -> _Sources:
    """Pack the plan's objects anew with their colours changed; silhouettes stay as they are."""
    from smile_motion.bank.pack import make_levels

    assert plan.appearance is not None
    assert plan.appearance_seed is not None
    words, offset, start = [np.zeros(0, np.uint32)], np.zeros((plan.slots, bank.size.shape[1])), 0
    for slot, index in enumerate(plan.objects):
        image = bank.image(int(index)).copy()
        image[..., :3] = plan.appearance.apply(
            np.ascontiguousarray(image[..., :3]), int(plan.appearance_seed[slot])
        )
        levels = make_levels(image)
        for number in range(bank.size.shape[1]):
            if number < len(levels):
                offset[slot, number] = start
                words.append(levels[number].reshape(-1).view(np.uint32))
                start += levels[number].nbytes
            else:
                offset[slot, number] = offset[slot, number - 1]
    return _Sources(
        np.arange(plan.slots),
        (
            np.concatenate(words),
            offset.astype(np.int64),
            bank.size[plan.objects],
            bank.cover[plan.objects],
        ),
    )
