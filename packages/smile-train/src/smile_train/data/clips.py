"""The data set: rendered clips with their masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from smile_motion.backgrounds import make_background
from smile_motion.bank import ObjectBank, embedded_bank
from smile_motion.clips import Clip, ClipMaker
from smile_motion.errors import InputError
from smile_motion.masking import TokenMask, mask_trajectory, mask_tube
from smile_motion.recipe import MotionRecipe
from smile_motion.seeding import Stream, keyed_generator

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
        """Make one sample.

        A broken file is replaced by another that depends on the sample's number alone.
        Raises InputError when many in a row are broken.
        """
        epoch, index = self.order.locate(number)
        broken: list[str] = []
        for attempt in range(ATTEMPTS):
            if attempt:
                rng = keyed_generator(
                    self.config.seed, Stream.REPLACEMENT, epoch=epoch, index=index, part=attempt
                )
                index = int(rng.integers(self.order.length))
            try:
                clip = self.maker.make(index, epoch)
            except InputError as error:
                broken.append(str(error))
                continue
            parts = range(self.config.masks_per_clip)
            masks = [self._mask(clip, epoch, index, part) for part in parts]
            return {
                "frames": torch.from_numpy(clip.frames),
                "visible": torch.from_numpy(np.stack([mask.visible for mask in masks])),
                "masked": torch.from_numpy(np.stack([mask.masked for mask in masks])),
                "broken": broken,
            }
        raise InputError(f"{ATTEMPTS} files in a row cannot be used, the last: {broken[-1]}")

    def _mask(self, clip: Clip, epoch: int, index: int, part: int) -> TokenMask:
        config = self.config
        rng = keyed_generator(config.seed, Stream.MASK, epoch=epoch, index=index, part=part)
        if config.masking == "tube":
            return mask_tube(rng, config.grid, config.mask_ratio)
        coverage = clip.truth.token_coverage(config.grid)
        return mask_trajectory(rng, config.grid, config.mask_ratio, coverage)


def open_clips(config: PretrainConfig) -> TrainingClips:
    """Open what a configuration names.

    Raises InputError when a file is missing or does not fit.
    """
    background = make_background(
        config.background,
        videos=config.videos,
        images=config.images,
        stride=config.stride,
        noise=config.noise,
        noise_per_frame=config.noise_per_frame,
    )
    maker = ClipMaker(
        bank=ObjectBank.open(config.bank) if config.bank else embedded_bank(),
        recipe=MotionRecipe.named(
            config.recipe, objects=config.objects, path=config.path, transform=config.transform
        ),
        background=background,
        frames=config.frames,
        size=(config.size, config.size),
        seed=config.seed,
    )
    length = len(background) or config.samples
    return TrainingClips(
        config=config, maker=maker, order=SampleOrder(length=length, seed=config.seed)
    )


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples into a batch; what is broken becomes one list."""
    batch: dict[str, Any] = {
        name: torch.stack([sample[name] for sample in samples])
        for name in ("frames", "visible", "masked")
    }
    batch["broken"] = [line for sample in samples for line in sample["broken"]]
    return batch
