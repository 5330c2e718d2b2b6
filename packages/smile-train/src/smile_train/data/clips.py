"""The data set: rendered clips with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from smile_motion.clips import Clip, ClipMaker
from smile_motion.errors import InputError
from smile_motion.masking import (
    TokenMask,
    mask_official,
    mask_random,
    mask_trajectory,
    mask_tube,
    masked_tokens,
)
from smile_motion.seeding import Stream, keyed_generator, lent_generator

from smile_train.config import PretrainConfig
from smile_train.data.order import SampleOrder

ATTEMPTS = 20
"""Files tried in place of a broken one before giving up."""


@dataclass(frozen=True, kw_only=True)
class TrainingClips:
    """Sample number -> clip and masks; depends on the configuration and the number alone.

    An item is `frames` (T, H, W, 3) uint8, `visible` (masks, Nv) and `masked` (masks, Nm) int64
    token numbers, and `broken`, a list of what is wrong with files that could not be used.
    """

    config: PretrainConfig
    """The run."""
    maker: ClipMaker
    """Renders the clips."""
    order: SampleOrder
    """Where a sample number points."""

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Make one sample, in memory of its own; see `fill`."""
        batch = self.new_batch(1)
        broken = self.fill([number], batch)
        return {name: values[0] for name, values in batch.items()} | {"broken": broken}

    def shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of every tensor of a sample, by name."""
        config, grid = self.config, self.config.grid
        hidden = masked_tokens(grid, config.mask_ratio)
        return {
            "frames": ((config.frames, *config.frame_size, 3), torch.uint8),
            "visible": ((config.masks_per_clip, grid.tokens - hidden), torch.int64),
            "masked": ((config.masks_per_clip, hidden), torch.int64),
        }

    def new_batch(self, count: int) -> dict[str, torch.Tensor]:
        """Return memory for `count` samples, for `fill`."""
        return {
            name: torch.empty((count, *shape), dtype=dtype)
            for name, (shape, dtype) in self.shapes().items()
        }

    def fill(self, numbers: Sequence[int], batch: dict[str, torch.Tensor]) -> list[str]:
        """Make samples into a batch's memory, without a copy.

        numbers  of the samples, as many as the batch has room for.
        batch    tensors as from `new_batch`, overwritten.
        returns  what is wrong with files that could not be used. A broken file is replaced by
                 another that depends on the sample's number alone.
        Raises InputError when many in a row are broken.
        """
        frames, visible, masked = (batch[name].numpy() for name in ("frames", "visible", "masked"))
        broken: list[str] = []
        for place, number in enumerate(numbers):
            masks = self._make(number, frames[place], broken)
            for part, mask in enumerate(masks):
                visible[place, part], masked[place, part] = mask.visible, mask.masked
        return broken

    def _make(self, number: int, out: np.ndarray, broken: list[str]) -> list[TokenMask]:
        """Render one sample into `out`, add to `broken`, and return its masks."""
        epoch, index = self.order.locate(number)
        for attempt in range(ATTEMPTS):
            if attempt:
                rng = keyed_generator(
                    self.config.seed, Stream.REPLACEMENT, epoch=epoch, index=index, part=attempt
                )
                index = int(rng.integers(self.order.length))
            try:
                clip = self.maker.make(index, epoch, out=out)
            except InputError as error:
                broken.append(str(error))
                continue
            return self._masks(clip, epoch, index)
        raise InputError(f"{ATTEMPTS} files in a row cannot be used, the last: {broken[-1]}")

    def _masks(self, clip: Clip, epoch: int, index: int) -> list[TokenMask]:
        config = self.config
        grid, ratio = config.grid, config.mask_ratio
        visible = config.trajectory_visible
        generators = (
            lent_generator(config.seed, Stream.MASK, epoch=epoch, index=index, part=part)
            for part in range(config.masks_per_clip)
        )
        match config.masking:
            case "tube":
                return [mask_tube(rng, grid, ratio) for rng in generators]
            case "random":
                return [mask_random(rng, grid, ratio) for rng in generators]
            case "official":
                share = 0.1 if visible is None else visible
                return [
                    mask_official(rng, grid, ratio, clip.plan, visible_share=share)
                    for rng in generators
                ]
            case "trajectory":
                coverage = clip.truth.token_coverage(grid)
                return [
                    mask_trajectory(
                        rng,
                        grid,
                        ratio,
                        coverage,
                        threshold=config.coverage_threshold,
                        visible_share=visible,
                    )
                    for rng in generators
                ]


def open_clips(config: PretrainConfig) -> TrainingClips:
    """Open what a configuration names.

    Raises InputError when a file is missing or does not fit.
    """
    maker = config.make_maker()
    if maker.recipe.objects == 0 and config.masking in ("trajectory", "official"):
        raise InputError(
            f"--recipe {config.recipe} has no objects, whose trajectories --masking "
            f"{config.masking} could follow; use --masking tube"
        )
    length = len(maker.background) or config.samples
    return TrainingClips(
        config=config, maker=maker, order=SampleOrder(length=length, seed=config.seed)
    )
