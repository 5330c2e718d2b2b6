"""Clips of which plans alone are made by workers; a device renders them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from smile_motion.backgrounds.sources import VideoBackground
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.masking import device as masks
from smile_motion.masking.masks import draw_keys
from smile_motion.renderer.cpu import view_scene
from smile_motion.renderer.device import DeviceRecords, DeviceRenderer
from smile_motion.renderer.device_records import LayerRecords, make_records
from smile_motion.tokens import masked_tokens
from smile_motion.truth.device import gather_rates, token_motion
from smile_motion.truth.instances import Truth
from smile_motion.truth.token_motion import surface_rates
from smile_motion.video import find_videos
from smile_motion.video.stretches import DecodedStretches
from torch import Tensor

from smile_train.config.pretrain import PretrainConfig
from smile_train.config.run import DecoderName
from smile_train.data.decoders import settle_decoder
from smile_train.data.moving_clips import (
    TrainingClips,
    clip_motion,
    draw_masks,
    draw_picks,
    mask_generators,
)
from smile_train.data.sampling import SampleOrder


@dataclass(frozen=True, kw_only=True)
class PlannedClips(TrainingClips):
    """Sample number -> background, plan and masks, or the keys that decide them.

    A sample holds `background` (T, H, W, 3) uint8, or (1, H, W, 3) where it stays (a camera moves
    it here already); the fields of `LayerRecords`; and `visible` and `masked`, or, where masks
    follow trajectories, `keys` (masks, n) float64; with a motion target `motion`, or what a device
    finds it by (see `motion_by_workers`): `places` (objects, slices, 2, 3) float64, where objects
    are when slices begin, under a camera `views` (slices, 2, 3), where its scene is, and `rates`
    (objects + 1, slices, 3) float64 where they are learned.
    `PlanRenderer` makes of a batch what `TrainingClips` would have held.
    """

    def shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of every tensor of a sample, by name."""
        shapes = super().shapes()
        _, height, width, _ = shapes.pop("frames")[0]
        stays = self.maker.background.is_static and self.maker.recipe.camera is None
        frames = 1 if stays else self.config.frames
        shapes["background"] = ((frames, height, width, 3), torch.uint8)
        for name, array in self._example._asdict().items():
            shapes[name] = (array.shape[1:], torch.from_numpy(array).dtype)
        if self.config.motion_dim and not self.config.motion_by_workers:
            del shapes["motion"]
            objects = max(self.maker.recipe.objects, 1)
            shapes["places"] = ((objects, self.config.grid.slices, 2, 3), torch.float64)
            if self.maker.recipe.camera is not None:
                shapes["views"] = ((self.config.grid.slices, 2, 3), torch.float64)
            if self.config.motion_rates:
                shapes["rates"] = ((objects + 1, self.config.grid.slices, 3), torch.float64)
        if self.config.masking == "trajectory":
            del shapes["visible"], shapes["masked"]
            keys = draw_keys(np.random.default_rng(0), self.config.grid)
            shapes["keys"] = ((self.config.masks_per_clip, keys.shape[1]), torch.float64)
            if self.config.decoder_mask_ratio:
                hidden = masked_tokens(self.config.grid, self.config.mask_ratio)
                shapes["picks"] = ((self.config.masks_per_clip, hidden), torch.float64)
        return shapes

    @cached_property
    def _example(self) -> LayerRecords:
        """Records of some clip: all of a recipe have the same shapes.

        Raises:
            InputError: A device cannot render the recipe.
        """
        return self._records(0, 0)[1]

    def _records(self, epoch: int, index: int) -> tuple[Any, LayerRecords]:
        maker = self.maker_of(epoch, index)
        plan = maker.plan(index, epoch)
        return plan, make_records(
            [plan],
            maker.bank,
            objects=max(self.maker.recipe.objects, 1),
            frames=maker.frames,
            size=maker.size,
        )

    def _make(self, epoch: int, index: int, row: dict[str, np.ndarray]) -> None:
        """Plan the clip of an index into a row of a batch."""
        behind = self.order.behind(epoch)
        plan, records = self._records(epoch, index)
        into = row["background"] if plan.camera is None else None
        drawn = self.maker.draw_background(index, epoch, out=into, behind=behind)
        if plan.camera is not None:
            view_scene(drawn.frames, plan, out=row["background"])
        for name, array in records._asdict().items():
            row[name][...] = array[0]
        if "places" in row:
            row["places"][...] = 0
            row["places"][: plan.slots] = plan.placement()[:, :: self.config.tubelet]
        if "views" in row and plan.camera is not None:
            row["views"][...] = plan.camera.placement()[:: self.config.tubelet]
        if "rates" in row:
            row["rates"][...] = np.nan
            row["rates"][: plan.slots + 1] = surface_rates(plan, self.config.grid)
        motion = None
        if self.config.motion_by_workers:
            truth = Truth(plan, self.maker.bank)
            motion = clip_motion(self.config, truth, drawn.origin, out=row.get("motion"))
        generators = mask_generators(self.config, epoch, index)
        if "keys" in row:
            for part, rng in enumerate(generators):
                row["keys"][part] = draw_keys(rng, self.config.grid)[0]
                if "picks" in row:
                    row["picks"][part] = draw_picks(self.config, rng)
            return
        drawn = draw_masks(self.config, generators, plan, _no_coverage, motion)
        for part, mask in enumerate(drawn):
            row["visible"][part], row["masked"][part] = mask.visible, mask.masked


@dataclass(frozen=True, kw_only=True)
class PlanRenderer:
    """Renders batches of `PlannedClips` on the training device."""

    config: PretrainConfig
    """The run."""
    renderer: DeviceRenderer
    """Holds the bank."""

    @classmethod
    def open(cls, config: PretrainConfig, bank: ObjectBank, device: torch.device) -> PlanRenderer:
        """Copy the bank to the device.

        Raises:
            InputError: It does not fit there.
        """
        renderer = DeviceRenderer(bank, device, frames=config.frames, size=config.frame_size)
        return cls(config=config, renderer=renderer)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Render a batch: adds `frames`, `visible`, `masked`, and `motion` if it is learned, on the
        device."""
        sent = {
            name: value.to(self.renderer.device, non_blocking=True)
            for name, value in batch.items()
            if isinstance(value, Tensor)
        }
        records = DeviceRecords(**{name: sent[name] for name in DeviceRecords._fields})
        clips = self.renderer.paint(sent["background"], records)
        sent["frames"] = clips.frames
        if "places" in sent:
            moved = token_motion(
                clips.ids,
                sent["places"],
                self.config.grid,
                points=self.config.motion_points,
                reading=self.config.motion_reading,
                still=self.config.has_still_background,
                background=sent.get("views"),
                visible=self.config.motion_visibility,
            )
            parts = [moved.displacement.flatten(4)]
            if moved.visible is not None:
                unknown = moved.displacement[..., 0].isnan()
                parts.append(moved.visible.float().masked_fill(unknown, torch.nan))
            if "rates" in sent:
                parts.append(gather_rates(sent["rates"], moved.label).flatten(4))
            sent["motion"] = torch.cat(parts, dim=-1).flatten(1, 3)
        if "keys" in sent:
            grid, keys = self.config.grid, sent["keys"]
            coverage = clips.token_coverage(grid).repeat_interleave(keys.shape[1], dim=0)
            drawn = masks.mask_trajectory(
                keys.flatten(0, 1),
                grid,
                self.config.mask_ratio,
                coverage,
                threshold=self.config.coverage_threshold,
                visible_share=self.config.trajectory_visible,
            )
            visible, masked = (tokens.view(*keys.shape[:2], -1) for tokens in drawn)
            if "picks" in sent:
                order = sent["picks"].argsort(dim=-1)[..., : self.config.reconstructed]
                masked = masked.gather(-1, order.sort(dim=-1).values)
            sent["visible"], sent["masked"] = visible, masked
        return batch | sent


def _no_coverage() -> np.ndarray:
    raise AssertionError("masks along trajectories are drawn on the device")


def open_clips(config: PretrainConfig) -> TrainingClips:
    """Open what a configuration names.

    Raises:
        InputError: A file is missing or does not fit.
    """
    maker = config.make_maker()
    if maker.recipe.objects == 0 and config.masking in ("trajectory", "official"):
        raise InputError(
            f"--recipe {config.recipe} has no objects, whose trajectories --masking "
            f"{config.masking} could follow; use --masking tube"
        )
    still = maker.recipe.objects == 0 and maker.recipe.camera is None
    if still and config.motion_dim and config.motion_target != "official":
        raise InputError(
            f"--recipe {config.recipe} has no objects, whose motion --motion-target displacement "
            f"could tell, nor a camera; use --motion-target none"
        )
    if config.motion_target == "official":
        from smile_train.data.track_files import require_tracks

        require_tracks(config.tracks, getattr(maker.background, "files", ()))
    shared, length = config.clips_per_video, len(maker.background) or config.samples
    if shared > 1:
        if not isinstance(maker.background, VideoBackground):
            raise InputError(
                f"--clips-per-video {shared} is for video: use --background natural or frame"
            )
        behind = replace(maker.background, decoded=DecodedStretches(shared))
        maker = replace(maker, background=behind)
    order = SampleOrder(length=length, seed=config.seed, clips_per_video=shared, batch=config.batch)
    kind = PlannedClips if config.render == "device" else TrainingClips
    return kind(config=config, maker=maker, order=order)


def settle_clips(
    clips: TrainingClips, begun: DecoderName | None = None
) -> tuple[TrainingClips, str]:
    """Settle which decoder reads a run's videos, behind its clips or else of its --knn; see
    `settle_decoder`.

    Args:
        clips: From `open_clips`, which has PyAV read them.
        begun: Decoder that the run began with.

    Returns:
        The clips, and what to say, once.

    Raises:
        InputError: The decoder that the configuration asks for cannot be used.
    """
    config, background = clips.config, clips.maker.background
    reads = None
    if isinstance(background, VideoBackground):
        files = background.files
        if config.steps is not None:
            reads = -(-config.steps * config.batch // config.clips_per_video)
    elif config.knn is not None:
        files = [video.path for video in find_videos(config.knn)]
        reads = len(files)
    else:
        return clips, ""
    decoder, said = settle_decoder(
        *(config.decoder, files),
        frames=config.frames,
        stride=config.stride,
        begun=begun,
        reads=reads,
    )
    return clips.decoded_by(decoder), said
