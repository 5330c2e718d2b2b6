"""The training data set: rendered clips with their masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from smile_motion.backgrounds.sources import VideoBackground
from smile_motion.clips.clip import ClipMaker
from smile_motion.masking.masks import (
    TokenMask,
    mask_motion_bins,
    mask_official,
    mask_random,
    mask_trajectory,
    mask_tube,
)
from smile_motion.motion.plan import MotionPlan
from smile_motion.seeding import Stream, reused_generator
from smile_motion.tokens import masked_tokens
from smile_motion.truth.instances import Truth
from smile_motion.truth.token_motion import TokenMotion, surface_rates, token_motion

from smile_train.config.pretrain import PretrainConfig
from smile_train.config.run import DecoderName
from smile_train.data.decoders import READERS
from smile_train.data.sampling import SampleOrder, make_or_replace


@dataclass(frozen=True, kw_only=True)
class TrainingClips:
    """Sample number -> clip and masks; depends on the configuration and the number alone.

    An item is `frames` (T, H, W, 3) uint8, `visible` (masks, Nv) and `masked` (masks, Nm) int64
    token numbers, its `number`, and `broken`, what is wrong with files that could not be used; with
    a motion target also `motion` (tokens, motion_dim) float32: `motion_parts` one after the other,
    NaN where unknown; first displacements, pixels, x and y of a point after the other.
    """

    preload_module: ClassVar[str] = "smile_train.data._preload_pretrain"

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
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "frames": ((config.frames, *config.frame_size, 3), torch.uint8),
            "visible": ((config.masks_per_clip, grid.tokens - hidden), torch.int64),
            "masked": ((config.masks_per_clip, config.reconstructed), torch.int64),
            "number": ((), torch.int64),
        }
        if config.motion_dim:
            shapes["motion"] = ((grid.tokens, config.motion_dim), torch.float32)
        return shapes

    def new_batch(self, count: int) -> dict[str, torch.Tensor]:
        """Return memory for `count` samples, for `fill`."""
        return {
            name: torch.empty((count, *shape), dtype=dtype)
            for name, (shape, dtype) in self.shapes().items()
        }

    def fill(self, numbers: Sequence[int], batch: dict[str, torch.Tensor]) -> list[str]:
        """Make samples into a batch's memory, without a copy.

        Args:
            numbers: Sample numbers, as many as the batch has room for.
            batch: Tensors as from `new_batch`, overwritten.

        Returns:
            What is wrong with files that could not be used. A broken file is replaced by another
            that depends on the sample's number alone.

        Raises:
            InputError: Many in a row are broken.
        """
        arrays = {name: batch[name].numpy() for name in self.shapes()}
        arrays.pop("number")[:] = numbers
        broken: list[str] = []
        for place, number in enumerate(numbers):
            row = {name: array[place] for name, array in arrays.items()}
            broken += make_or_replace(self.order, number, partial(self._make, row=row))
        return broken

    def _make(self, epoch: int, index: int, row: dict[str, np.ndarray]) -> None:
        """Make the clip of an index into a row of a batch."""
        maker = self.maker_of(epoch, index)
        clip = maker.make(index, epoch, out=row["frames"], behind=self.order.behind(epoch))
        motion = None
        if self.config.motion_by_workers:
            motion = clip_motion(self.config, clip.truth, clip.origin, out=row.get("motion"))
        masks = draw_masks(
            self.config,
            mask_generators(self.config, epoch, index),
            clip.plan,
            lambda: clip.truth.token_coverage(self.config.grid),
            motion,
        )
        for part, mask in enumerate(masks):
            row["visible"][part], row["masked"][part] = mask.visible, mask.masked

    def file_of(self, index: int) -> Path | None:
        """The file behind the objects of clip `index`, if there is one."""
        files: tuple[Path, ...] = getattr(self.maker.background, "files", ())
        return files[index % len(files)] if files else None

    def decoded_by(self, decoder: DecoderName) -> TrainingClips:
        """The same clips of a run whose videos another decoder reads."""
        background = self.maker.background
        if not isinstance(background, VideoBackground):
            return replace(self, config=replace(self.config, decoder=decoder))
        reader, decoded = READERS[decoder], background.decoded
        background = replace(
            background, reader=reader, decoded=decoded and replace(decoded, reader=reader)
        )
        config = replace(self.config, decoder=decoder)
        return replace(self, config=config, maker=replace(self.maker, background=background))

    def maker_of(self, epoch: int, index: int) -> ClipMaker:
        """The maker of a clip: under --strategy mixed, some have no objects."""
        if self.config.strategy != "mixed":
            return self.maker
        rng = reused_generator(self.config.seed, Stream.AUGMENT, epoch=epoch, index=index)
        return self.maker if rng.random() < self.config.mixed_share else self._plain_maker

    @cached_property
    def _plain_maker(self) -> ClipMaker:
        return replace(self.maker, recipe=replace(self.maker.recipe, objects=0))


def clip_motion(
    config: PretrainConfig,
    truth: Truth,
    origin: Mapping[str, Any],
    *,
    out: np.ndarray | None = None,
) -> TokenMotion:
    """Say how what is in a clip's tokens moves: from its plan, and with --tracks from those.

    Args:
        truth: What is known of the clip.
        origin: What is behind its objects, as `Clip.origin`.
        out: (tokens, motion_dim) float32, to be filled with the displacements, and with what else
            is learned of motion.

    Raises:
        InputError: The tracks of its video are missing or do not fit.
    """
    grid, points = config.grid, config.motion_points
    shape = (*grid.shape, points * points, 2)
    alone = len(config.motion_parts) == 1
    motion = token_motion(
        truth.plan,
        truth.ids,
        grid,
        points=points,
        reading=config.motion_reading,
        still=config.has_still_background,
        out=out.reshape(shape) if out is not None and alone else None,
    )
    if out is not None and not alone:
        rates = surface_rates(truth.plan, grid) if config.motion_rates else None
        motion.join(out, visible=config.motion_visibility, rates=rates)
    if config.motion_target == "official" and config.tracks is not None:
        from smile_motion.video import open_index

        from smile_train.data.track_files import track_displacement

        video = Path(origin["file"])
        x, y, width, height = origin["crop"]
        tracked = track_displacement(
            config.tracks,
            video,
            length=len(open_index(video)),
            numbers=np.array(origin["frames"]),
            crop=(x, y, width, height),
            grid=grid,
            points=points,
            reading=config.motion_reading,
        )
        np.copyto(motion.displacement, tracked, where=(motion.slot < 0)[..., None])
    return motion


OFFICIAL_VISIBLE = 0.1
"""Share of trajectory tokens that the published code leaves visible."""


def mask_generators(
    config: PretrainConfig, epoch: int, index: int
) -> Iterator[np.random.Generator]:
    """Lend the generator of each of a clip's masks, to be used before the next is asked for."""
    for part in range(config.masks_per_clip):
        yield reused_generator(config.seed, Stream.MASK, epoch=epoch, index=index, part=part)


def draw_masks(
    config: PretrainConfig,
    generators: Iterator[np.random.Generator],
    plan: MotionPlan,
    coverage: Callable[[], np.ndarray],
    motion: TokenMotion | None = None,
) -> list[TokenMask]:
    """Draw a clip's masks; under --decoder-mask-ratio, with some of the masked tokens left out.

    Args:
        coverage: Gives `Truth.token_coverage`; called only where trajectories matter.
        motion: Motion of the clip's tokens, where masks depend on it.
    """
    if config.masking == "motion-bins":
        assert motion is not None
        covered = motion.by_position()
    else:
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
    """Draw one mask; a clip without objects is masked in tubes where trajectories would lead.

    Args:
        covered: What trajectories cover of tokens; under motion bins how far positions move.
    """
    grid, ratio, visible = config.grid, config.mask_ratio, config.trajectory_visible
    if config.masking == "random":
        return mask_random(rng, grid, ratio)
    if config.masking == "motion-bins":
        assert covered is not None
        return mask_motion_bins(rng, grid, ratio, covered, share=config.motion_share)
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
