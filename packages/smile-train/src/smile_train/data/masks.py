"""The masks that a clip is learned under."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from smile_motion.masking import TokenMask, mask_official, mask_random, mask_trajectory, mask_tube
from smile_motion.plan import MotionPlan
from smile_motion.seeding import Stream, lent_generator

from smile_train.config import PretrainConfig

OFFICIAL_VISIBLE = 0.1
"""Share of trajectory tokens that the published code leaves visible."""


def mask_generators(
    config: PretrainConfig, epoch: int, index: int
) -> Iterator[np.random.Generator]:
    """Lend the generator of each of a clip's masks, to be used before the next is asked for."""
    for part in range(config.masks_per_clip):
        yield lent_generator(config.seed, Stream.MASK, epoch=epoch, index=index, part=part)


def draw_masks(
    config: PretrainConfig,
    generators: Iterator[np.random.Generator],
    plan: MotionPlan,
    coverage: Callable[[], np.ndarray],
) -> list[TokenMask]:
    """Draw a clip's masks.

    coverage  gives `Truth.token_coverage`; called only where trajectories matter.
    """
    grid, ratio, visible = config.grid, config.mask_ratio, config.trajectory_visible
    match config.masking:
        case "tube":
            return [mask_tube(rng, grid, ratio) for rng in generators]
        case "random":
            return [mask_random(rng, grid, ratio) for rng in generators]
        case "official":
            share = OFFICIAL_VISIBLE if visible is None else visible
            return [
                mask_official(rng, grid, ratio, plan, visible_share=share) for rng in generators
            ]
        case "trajectory":
            covered, threshold = coverage(), config.coverage_threshold
            return [
                mask_trajectory(
                    rng, grid, ratio, covered, threshold=threshold, visible_share=visible
                )
                for rng in generators
            ]
