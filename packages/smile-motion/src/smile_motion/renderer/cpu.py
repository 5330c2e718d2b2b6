"""Rendering of a plan's objects over background frames, on the CPU."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smile_motion.errors import InputError
from smile_motion.motion.plan import MotionPlan
from smile_motion.renderer.layers import Layers, Sources, find_poses, make_layers

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
    """Render the objects of a plan over a background.

    Args:
        background: (T, H, W, 3) uint8 RGB, which without `out` is painted in place if writable and
            contiguous, else copied; or (1, H, W, 3), an image that is repeated and not changed. Of
            a plan with a camera (1, *plan.camera.scene, 3), the scene that it moves over.
        plan: Motion of the objects.
        bank: Bank that the plan was made with.
        ids: (T, H, W) uint8 array that is filled with the modal id map (`Truth.ids`), at almost no
            cost.
        out: (T, H, W, 3) uint8 array, contiguous, to paint and return.

    Returns:
        (T, H, W, 3) uint8 RGB: objects composited with premultiplied alpha, after one bilinear
        resampling at sub-pixel positions.

    Raises:
        InputError: A shape or dtype does not fit the plan, or the bank lacks an object.
    """
    expected = (plan.frames, plan.height, plan.width, 3)
    if plan.camera is not None:
        background = out = view_scene(background, plan, out=out)
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


def view_scene(
    background: np.ndarray, plan: MotionPlan, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Render what the camera of a plan shows of its scene, without objects.

    Args:
        background: (1, *plan.camera.scene, 3) uint8 RGB, the scene.
        plan: A plan with a camera.
        out: (T, H, W, 3) uint8 array, contiguous, to fill and return.

    Returns:
        (T, H, W, 3) uint8 RGB, resampled once, bilinearly, in the arithmetic of objects.

    Raises:
        InputError: A shape or dtype does not fit the plan, or it has no camera.
    """
    from smile_motion.renderer._composite import composite_scene, pack_scene

    if plan.camera is None:
        raise InputError("the plan has no camera; make it with a recipe that has one")
    height, width = plan.camera.scene
    if background.dtype != np.uint8 or background.shape != (1, height, width, 3):
        raise InputError(
            f"background is {background.dtype} {background.shape}; the plan's camera moves over "
            f"one image, uint8 {(1, height, width, 3)}"
        )
    expected = (plan.frames, plan.height, plan.width, 3)
    if out is None:
        out = np.empty(expected, np.uint8)
    check_frames(out, expected)
    words = np.empty((height + 2, width + 2), np.uint32)
    pack_scene(background[0], words)
    rows = out.reshape(*out.shape[:2], -1)
    size = np.array([width, height], np.int32)
    composite_scene(rows, words.reshape(-1), size, plan.camera.placement())
    return out


def check_frames(out: np.ndarray, expected: tuple[int, ...]) -> None:
    """Raise InputError unless `out` is a writable, contiguous uint8 array of the expected shape."""
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
    """Paint frames and the id map in place.

    Args:
        frames: (T, H, W, 3) uint8 RGB, contiguous; None for the id map only.
        ids: (T, H, W) uint8.
        plan: Motion of the objects.
        bank: Bank that the plan was made with.
        background: (1, H, W, 3) uint8; by default the frames hold the background already.

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
    found = find_poses(plan, bank)
    source = found.shown[layers.slot]
    sources = read_sources(plan, layers, found, bank)
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
            source,
            *sources,
        )
    covered = composite(
        rows,
        behind,
        ids,
        layers.order,
        layers.maps,
        source,
        layers.label,
        *sources,
        frames is not None and layers.plain,
    )
    return covered[: plan.slots]


class PixelSources(NamedTuple):
    """Levels of the S poses that a plan's objects show, for the compiled loops."""

    words: np.ndarray
    """(n,) uint32: premultiplied RGBA, level after level; overwritten by the next call in the same
    thread."""
    offset: np.ndarray
    """(S, levels) int64: start of each level in `words`; valid for sampled levels only."""
    size: np.ndarray
    """(S, levels, 2) int32: width and height of a level, pixels."""
    hull: np.ndarray
    """(S, 16, 2) float32: a convex polygon around all visible pixels, unit coordinates."""


def read_sources(
    plan: MotionPlan, layers: Layers, sources: Sources, bank: ObjectBank
) -> PixelSources:
    """Read the levels that a plan's layers are sampled from.

    Args:
        plan: Motion of the objects.
        layers: Layers of the plan.
        sources: Poses that its objects show.
        bank: Bank that the plan was made with.

    Raises:
        BankError: A file of the bank is truncated.
    """
    size, hull = bank.size[sources.poses], bank.hull[sources.poses]
    if plan.appearance is not None:
        return PixelSources(*_repainted(plan, sources, bank), size, hull)
    from smile_motion.renderer._sampling import find_levels

    lowest, highest = np.empty((2, len(sources.poses)), np.int64)
    maps = layers.maps[:, :, None]
    if not layers.plain:
        maps = np.concatenate([maps, layers.exposures], axis=2)
    find_levels(size, maps, sources.shown[layers.slot], layers.mip_bias, lowest, highest)
    words, offset = bank.read_levels(sources.poses, lowest, highest)
    return PixelSources(words, offset, size, hull)


def _repainted(
    plan: MotionPlan, sources: Sources, bank: ObjectBank
) -> tuple[np.ndarray, np.ndarray]:
    """Pack the plan's objects again with transformed colors and unchanged silhouettes."""
    from smile_motion.bank.packed_object import make_levels

    assert plan.appearance is not None
    assert plan.appearance_seed is not None
    words = [np.zeros(0, np.uint32)]
    offset = np.zeros((len(sources.poses), bank.size.shape[1]), np.int64)
    start = 0
    for slot, index in enumerate(plan.objects):
        (at,) = np.nonzero(sources.slot == slot)
        images = islice(bank.images(int(index)), int(sources.own[at[-1]]) + 1)
        wanted = dict(zip(sources.own[at].tolist(), at.tolist(), strict=True))
        for own, stored in enumerate(images):
            if own not in wanted:
                continue
            image = stored.copy()
            image[..., :3] = plan.appearance.apply(
                np.ascontiguousarray(image[..., :3]), int(plan.appearance_seed[slot])
            )
            for number, level in enumerate(make_levels(image)):
                offset[wanted[own], number:] = start
                words.append(level.reshape(-1).view(np.uint32))
                start += level.size // 4
    return np.concatenate(words), offset
