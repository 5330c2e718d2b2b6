"""Compositing a plan's objects onto background frames, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from smile_motion.errors import InputError
from smile_motion.layers import make_layers
from smile_motion.pixels import find_sources
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
    sources = find_sources(plan, layers, bank)
    if frames is not None and not layers.plain:
        from smile_motion._exposing import composite_exposures

        composite_exposures(
            rows,
            layers.order,
            layers.exposures,
            layers.tint,
            layers.coarser,
            layers.slot,
            *sources,
        )
    covered = composite(
        rows,
        ids,
        layers.order,
        layers.maps,
        layers.slot,
        layers.label,
        *sources,
        frames is not None and layers.plain,
    )
    return covered[: plan.slots]
