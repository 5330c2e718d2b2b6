"""The pixels that a plan's objects are painted from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smile_motion.errors import InputError
from smile_motion.motion.plan import MotionPlan
from smile_motion.renderer.layers import Layers

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank


class Sources(NamedTuple):
    """Levels of the K objects of a plan, as the compiled loops take them."""

    words: np.ndarray
    """(n,) uint32: premultiplied RGBA, level after level. It is overwritten by the next call in
    the same thread."""
    offset: np.ndarray
    """(K, levels) int64: where a level starts in `words`; only of levels that are sampled."""
    size: np.ndarray
    """(K, levels, 2) int32: width and height of a level, pixels."""
    cover: np.ndarray
    """(K, 16, 2) float32: a convex polygon around all that is not clear, unit coordinates."""


def find_sources(plan: MotionPlan, layers: Layers, bank: ObjectBank) -> Sources:
    """Read the levels that a plan's layers are sampled from.

    Raises InputError when the bank lacks an object, or its files are cut off.
    """
    try:
        size, cover = bank.size[plan.objects], bank.cover[plan.objects]
    except IndexError as error:
        raise InputError(
            f"plan names object {plan.objects.max()}, {bank.path} has {len(bank)}; "
            f"open the bank that the plan was made with"
        ) from error
    if plan.appearance is not None:
        return Sources(*_repainted(plan, bank), size, cover)
    from smile_motion.renderer._sampling import find_levels

    lowest, highest = np.empty((2, plan.slots), np.int64)
    maps = layers.maps
    if not layers.plain:
        maps = np.concatenate([maps[:, :, None], layers.exposures], axis=2)
        maps = maps.reshape(len(layers.slot), maps.shape[1] * maps.shape[2], 2, 3)
    find_levels(size, maps, layers.slot, layers.coarser, layers.slot, lowest, highest)
    words, offset = bank.read_levels(plan.objects, lowest, highest)
    return Sources(words, offset, size, cover)


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
