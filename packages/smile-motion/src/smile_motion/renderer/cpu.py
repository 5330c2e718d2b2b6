"""Compositing a plan's objects onto background frames, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smile_motion.errors import InputError
from smile_motion.motion.plan import MotionPlan
from smile_motion.renderer.layers import Layers, make_layers

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


def render(
    background: np.ndarray,
    plan: MotionPlan,
    bank: ObjectBank,
    *,
    ids: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Put the plan's objects on top of a background.

    Args:
        background: (T, H, W, 3) uint8 RGB; without `out` it is painted in place and returned when
            writable and contiguous, else a painted copy is returned. Or (1, H, W, 3), an image that
            is repeated, and left as it is.
        ids: (T, H, W) uint8 to be filled with the modal id map (`Truth.ids`), if wanted: it costs
            almost nothing here.
        out: (T, H, W, 3) uint8, contiguous, to paint and return.

    Returns:
        (T, H, W, 3) uint8: premultiplied alpha, one bilinear resampling, sub-pixel placement.

    Raises:
        InputError: A size is not the plan's.
    """
    expected = (plan.frames, plan.height, plan.width, 3)
    is_static = len(background) == 1 != plan.frames
    if background.dtype != np.uint8 or background.shape not in (expected, (1, *expected[1:])):
        raise InputError(
            f"background is {background.dtype} {background.shape}; the plan needs uint8 {expected}"
        )
    if out is None:
        out = (
            np.empty(expected, np.uint8) if is_static else np.require(background, None, ["C", "W"])
        )
    else:
        check_frames(out, expected)
        if not is_static and out is not background:
            out[:] = background
    if ids is None:
        ids = np.empty(expected[:3], np.uint8)
    paint(out, ids, plan, bank, background=background if is_static else None)
    return out


def check_frames(out: np.ndarray, expected: tuple[int, ...]) -> None:
    """Raise InputError when an array cannot be painted as frames of the expected shape."""
    if out.shape != expected or out.dtype != np.uint8:
        raise InputError(f"out is {out.dtype} {out.shape}; the clip needs uint8 {expected}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise InputError("out is not contiguous and writable; give a plain array or a row of one")


def paint(
    frames: np.ndarray | None,
    ids: np.ndarray,
    plan: MotionPlan,
    bank: ObjectBank,
    *,
    background: np.ndarray | None = None,
) -> np.ndarray:
    """Paint frames (when given) and the id map in place.

    Args:
        background: (1, H, W, 3) uint8: what lies behind; by default it is in the frames already.

    Returns:
        (K, T) int64: pixels of each object inside the frame with alpha >= 0.5, hidden ones
        included.
    """
    from smile_motion.renderer._composite import composite

    rows, behind = np.empty((1, 1, 1), np.uint8), np.empty((0, 1, 1), np.uint8)
    if frames is not None:
        rows = frames.reshape(*frames.shape[:2], -1)
    if background is not None:
        behind = np.ascontiguousarray(background).reshape(1, rows.shape[1], -1)
    layers = make_layers(plan)
    sources = find_sources(plan, layers, bank)
    if frames is not None and not layers.plain:
        from smile_motion.renderer._composite import composite_exposures

        if background is not None:
            frames[:] = background
        composite_exposures(
            rows,
            layers.order,
            layers.exposures,
            layers.tint,
            layers.mip_bias,
            layers.slot,
            *sources,
        )
    covered = composite(
        rows,
        behind,
        ids,
        layers.order,
        layers.maps,
        layers.slot,
        layers.label,
        *sources,
        frames is not None and layers.plain,
    )
    return covered[: plan.slots]


class PixelSources(NamedTuple):
    """Levels of the K objects of a plan, as the compiled loops take them."""

    words: np.ndarray
    """(n,) uint32: premultiplied RGBA, level after level. It is overwritten by the next call in
    the same thread."""
    offset: np.ndarray
    """(K, levels) int64: where a level starts in `words`; only of levels that are sampled."""
    size: np.ndarray
    """(K, levels, 2) int32: width and height of a level, pixels."""
    hull: np.ndarray
    """(K, 16, 2) float32: a convex polygon around all that is not clear, unit coordinates."""


def find_sources(plan: MotionPlan, layers: Layers, bank: ObjectBank) -> PixelSources:
    """Read the levels that a plan's layers are sampled from.

    Raises:
        InputError: The bank lacks an object, or its files are cut off.
    """
    try:
        size, hull = bank.size[plan.objects], bank.hull[plan.objects]
    except IndexError as error:
        raise InputError(
            f"plan names object {plan.objects.max()}, {bank.name} has {len(bank)}; "
            f"open the bank that the plan was made with"
        ) from error
    if plan.appearance is not None:
        return PixelSources(*_repainted(plan, bank), size, hull)
    from smile_motion.renderer._sampling import find_levels

    lowest, highest = np.empty((2, plan.slots), np.int64)
    maps = layers.maps
    if not layers.plain:
        maps = np.concatenate([maps[:, :, None], layers.exposures], axis=2)
        maps = maps.reshape(len(layers.slot), maps.shape[1] * maps.shape[2], 2, 3)
    find_levels(size, maps, layers.slot, layers.mip_bias, layers.slot, lowest, highest)
    words, offset = bank.read_levels(plan.objects, lowest, highest)
    return PixelSources(words, offset, size, hull)


def _repainted(plan: MotionPlan, bank: ObjectBank) -> tuple[np.ndarray, np.ndarray]:
    """Pack the plan's objects anew with their colours changed; silhouettes stay as they are."""
    from smile_motion.bank.packing import make_levels

    assert plan.appearance is not None
    assert plan.appearance_seed is not None
    words = [np.zeros(0, np.uint32)]
    offset = np.zeros((plan.slots, bank.size.shape[1]), np.int64)
    start = 0
    for slot, index in enumerate(plan.objects):
        image = bank.image(int(index)).copy()
        image[..., :3] = plan.appearance.apply(
            np.ascontiguousarray(image[..., :3]), int(plan.appearance_seed[slot])
        )
        for number, level in enumerate(make_levels(image)):
            offset[slot, number:] = start
            words.append(level.reshape(-1).view(np.uint32))
            start += level.size // 4
    return np.concatenate(words), offset
