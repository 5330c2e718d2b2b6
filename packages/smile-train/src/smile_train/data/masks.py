"""The masks that a clip is learned under."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from smile_motion.masking.masks import (
    TokenMask,
    mask_official,
    mask_random,
    mask_trajectory,
    mask_tube,
)
from smile_motion.motion.plan import MotionPlan
from smile_motion.seeding import Stream, lent_generator
from smile_motion.tokens import masked_tokens

from smile_train.config.pretrain import PretrainConfig

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
    """Draw a clip's masks; under --decoder-mask-ratio, with some of the masked tokens left out.

    coverage  gives `Truth.token_coverage`; called only where trajectories matter.
    """
    covered = coverage() if config.masking == "trajectory" and plan.slots else None
    drawn = []
    for rng in generators:
        mask = draw_mask(config, rng, plan, covered)
        if config.decoder_mask_ratio:
            picks = draw_picks(config, rng)
            chosen = np.sort(
                np.argpartition(picks, config.reconstructed - 1)[: config.reconstructed]
            )
            mask = TokenMask(mask.visible, mask.masked[chosen])
        drawn.append(mask)
    return drawn


def draw_mask(
    config: PretrainConfig, rng: np.random.Generator, plan: MotionPlan, covered: np.ndarray | None
) -> TokenMask:
    """Draw one mask; a clip without objects is masked in tubes where trajectories would lead."""
    grid, ratio, visible = config.grid, config.mask_ratio, config.trajectory_visible
    if config.masking == "random":
        return mask_random(rng, grid, ratio)
    if config.masking == "tube" or plan.slots == 0:
        return mask_tube(rng, grid, ratio)
    if config.masking == "official":
        share = OFFICIAL_VISIBLE if visible is None else visible
        return mask_official(rng, grid, ratio, plan, visible_share=share)
    assert covered is not None
    threshold = config.coverage_threshold
    return mask_trajectory(rng, grid, ratio, covered, threshold=threshold, visible_share=visible)


def draw_picks(config: PretrainConfig, rng: np.random.Generator) -> np.ndarray:
    """Draw the keys of masked tokens, (Nm,) float64 in 0..1: the decoder predicts those with the
    smallest. To be drawn after the mask, by the same generator."""
    return rng.random(masked_tokens(config.grid, config.mask_ratio))
