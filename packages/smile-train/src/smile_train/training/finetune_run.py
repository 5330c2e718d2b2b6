"""A run on labelled videos: its model, its clips, its moving average."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError

from smile_train.checkpoints.open import Backbone
from smile_train.config.finetune import FinetuneConfig
from smile_train.data import SampleOrder
from smile_train.data.labelled_clips import ClipAugmentation, LabelledClips
from smile_train.datasets import LabelledVideos
from smile_train.evaluation.predict import ViewShape
from smile_train.training.tasks import LabelledTask
from smile_train.training.updates import part_size


class LabelledRun:
    """What a run is made of; `finetune` trains it, `labelled_testing` scores it."""

    def __init__(
        self,
        *,
        config: FinetuneConfig,
        out: Path,
        accelerator: Accelerator,
        task: LabelledTask,
        backbone: Backbone,
        train: LabelledVideos,
        test: LabelledVideos,
    ) -> None:
        """Build the model and open the clips; nothing is written yet."""
        torch.manual_seed(config.seed)
        share = part_size(config, accelerator.num_processes)
        if (config.mixup or config.cutmix) and share % 2:
            raise InputError(
                f"--batch {config.batch} over {config.batch // share} parts is an odd share, clips "
                f"are mixed in pairs; use a multiple of {2 * config.batch // share}, or --mixup 0 "
                f"--cutmix 0"
            )
        self.config, self.out, self.accelerator, self.task = config, out, accelerator, task
        self.backbone, self.train, self.test = backbone, train, test
        self.model: Any = task.build(backbone).to(accelerator.device)
        if config.protocol == "linear-sigma":
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad = not name.startswith(("patch_embed.", "blocks."))
        grid = self.model.grid
        self.shape = ViewShape(
            frames=grid.frames, size=grid.height, stride=config.stride, sampling=config.sampling
        )
        self.clips = LabelledClips(
            videos=train,
            order=SampleOrder(length=len(train), seed=config.seed),
            frames=grid.frames,
            size=grid.height,
            stride=config.stride,
            sampling=config.sampling,
            repeats=config.repeats,
            augmentation=ClipAugmentation(
                flip=train.flip_safe if config.flip is None else config.flip,
                rand_augment=None if config.rand_augment == "none" else config.rand_augment,
                erasing=config.erasing,
            )
            if config.augment
            else None,
            seed=config.seed,
        )
        self.steps = max(1, config.epochs * len(train) // config.batch)
        self.best: float | None = None
        self.ema = self._average() if config.ema is not None else None

    @property
    def tested(self) -> torch.nn.Module:
        """The model, or its moving average."""
        return self.model if self.ema is None else self.ema.module

    def describe(self) -> dict[str, Any]:
        """Everything that the run depends on, and what its model is built from, as JSON values."""
        return {
            **self.config.to_json(),
            "model": type(self.model).__name__.lower(),
            "classes": list(self.test.classes),
            "student_config": asdict(self.backbone.config),
            "grid": asdict(self.model.grid),
            "trained_grid": asdict(self.backbone.trained),
            "steps_total": self.steps,
            "train_sha256": self.train.sha256,
            "checkpoint_sha256": self.backbone.sha256,
            "pretraining": self.backbone.pretraining,
        }

    def _average(self) -> Any:
        from timm.utils.model_ema import ModelEmaV3

        return ModelEmaV3(self.model, decay=self.config.ema or 0.0)
