"""Fine-tuning, and probing with a frozen backbone: what a `Trainer` trains, and its scores."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError

from smile_train.checkpoints.backbone import Backbone, untrained_backbone
from smile_train.checkpoints.files import load_checkpoint, stored_settings, write_checkpoint
from smile_train.checkpoints.open import open_backbone
from smile_train.config.finetune import FinetuneConfig
from smile_train.config.finetune_presets import changed_options, without_mixing
from smile_train.data.augmentation import require_rand_augment
from smile_train.data.decoders import reader_of, settle_decoder
from smile_train.data.labeled_clips import ClipAugmentation, LabeledClips
from smile_train.data.sampling import SampleOrder
from smile_train.data.views import TestViews
from smile_train.datasets import LabeledVideos, open_split
from smile_train.datasets.base import require_fitting
from smile_train.evaluation.predict import Predictions, ViewShape, predict, write_evaluation
from smile_train.evaluation.results import Results
from smile_train.training.accelerator import open_run
from smile_train.training.metrics_logger import MetricsLogger
from smile_train.training.monitor import evaluating
from smile_train.training.tasks import (
    GRID,
    AttentiveGrid,
    Counting,
    LabeledTask,
    MultiLabel,
    MultiLabelGrid,
    SingleLabel,
)
from smile_train.training.trainer import Trainer, TrainingRun, part_size


class LabeledRun(TrainingRun[FinetuneConfig, LabeledClips]):
    """Trains a model on labeled videos, keeps the best weights and the last, and scores them."""

    inputs = {  # noqa: RUF012
        "train_sha256": "the training samples have changed",
        "checkpoint_sha256": "the checkpoint to start from has changed",
    }

    def __init__(
        self,
        *,
        config: FinetuneConfig,
        out: Path,
        accelerator: Accelerator,
        task: LabeledTask,
        backbone: Backbone,
        train: LabeledVideos,
        test: LabeledVideos,
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
        self.clips = LabeledClips(
            videos=train,
            order=SampleOrder(length=len(train), seed=config.seed),
            frames=grid.frames,
            size=grid.height,
            stride=config.stride,
            sampling=config.sampling,
            repeats=config.repeats,
            augmentation=ClipAugmentation(
                crop_area=config.crop_area,
                flip=train.flip_safe if config.flip is None else config.flip,
                rand_augment=None if config.rand_augment == "none" else config.rand_augment,
                erasing=config.erasing,
            )
            if config.augment
            else None,
            seed=config.seed,
            reader=reader_of(config.decoder),
        )
        self.steps = max(1, config.epochs * len(train) // config.batch)
        self.views, self.said = config.repeats, []
        self.title = (
            f"{len(train)} videos, {self.steps} steps of {config.batch} x {config.repeats} clips"
        )
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

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimizer, as the task has them."""
        return self.task.groups(self.model, self.backbone.config.depth)

    def loss(self, model: torch.nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        """Mean loss of all repeats of a micro-batch's videos."""
        device = self.accelerator.device
        frames = batch["frames"].to(device, non_blocking=True)
        target = batch["target"].to(device, non_blocking=True)
        numbers = batch["number"].tolist()
        repeats = frames.shape[1]
        with self.accelerator.autocast():
            return self.task.loss(
                model,
                # Repeats of a clip lie a batch apart, so that neighbors are different videos.
                frames.transpose(0, 1).flatten(0, 1),
                target.repeat(repeats, *[1] * (target.ndim - 1)),
                [number + 2**40 * part for part in range(repeats) for number in numbers],
            )

    def after_update(self) -> None:
        """Follow the weights with their moving average."""
        if self.ema is not None:
            self.ema.update(self.model)

    def validate(self, report: MetricsLogger, step: int) -> None:
        """Score one view of each test video at the end of an epoch; keep the best weights so far,
        and the last."""
        epoch, before = (int(at / (self.steps / self.config.epochs)) for at in (step, step - 1))
        due = epoch > before and epoch % self.config.validate_every == 0
        if not due and step != self.steps:
            return
        metrics = self.task.metrics(score(self, TestViews()), self.test)
        report.measure(step, metrics)
        value = metrics[self.task.main_metric]
        if self.best is None or self.task.sign * (value - self.best) > 0:
            self.best = value
            self._keep_weights("best", step)
        if step == self.steps:
            self._keep_weights("last", step)
        report.say(f"step {step}: {self.task.main_metric} {value:.2f} (best {self.best:.2f})")

    def state(self) -> dict[str, Any]:
        """The best score so far, and the moving average."""
        average = {} if self.ema is None else {"ema": self.ema.module.state_dict()}
        return {"best": self.best} | average

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Put `state` back."""
        self.best = stored["best"]
        if self.ema is not None:
            self.ema.module.load_state_dict(stored["ema"])

    def _average(self) -> Any:
        from timm.utils.model_ema import ModelEmaV3

        return ModelEmaV3(self.model, decay=self.config.ema or 0.0)

    def _keep_weights(self, name: str, step: int) -> None:
        if self.accelerator.is_main_process:
            weights = {key: value.cpu() for key, value in self.tested.state_dict().items()}
            folder = self.out / name
            write_checkpoint(folder, step, weights=weights, training={}, config=self.describe())


def score(run: LabeledRun, views: TestViews) -> Predictions:
    """Scores of the test split under some views."""
    model: Any = run.tested
    with evaluating(model):
        return predict(
            lambda clips: run.task.score(model(clips)),
            run.test,
            outputs=run.task.outputs,
            shape=run.shape,
            views=views,
            accelerator=run.accelerator,
            workers=run.config.workers,
            ensemble=run.task.ensemble,
            allow_missing=run.config.allow_missing,
            reader=reader_of(run.config.decoder),
        )


def score_both(run: LabeledRun) -> Results:
    """Test the best weights and the last on all views, and write what was found."""
    views = TestViews(segments=run.config.segments, crops=run.config.crops)
    metrics: dict[str, float] = {}
    best: Predictions | None = None
    for name, prefix in (("last", "last_"), ("best", "")):
        weights, _, _ = load_checkpoint(run.out / name)
        run.tested.load_state_dict(weights)
        best = score(run, views)
        found = run.task.metrics(best, run.test)
        metrics |= {f"{prefix}{key}": value for key, value in found.items()}
    assert best is not None
    results = Results(
        protocol=run.config.protocol,
        dataset=run.test.name,
        split=run.test.split,
        samples=len(best.keys),
        metrics=metrics,
        main_metric=run.task.main_metric,
        checkpoint={
            "source": str(
                run.config.checkpoint if run.config.from_scratch is None else run.backbone.source
            ),
            "sha256": run.backbone.sha256,
        },
        pretraining=run.backbone.pretraining,
        dataset_sha256={"train": run.train.sha256, run.test.split: run.test.sha256},
        partial=run.train.partial or run.test.partial or bool(best.broken),
        missing=run.train.missing or run.test.missing or bool(best.broken),
        config=run.config.to_json() | {"views": str(views)},
        ours=changed_options(run.config),
    )
    if run.accelerator.is_main_process:
        grid = {"grid": run.task.grid_of(best), "chosen_on": run.test.split}
        write_evaluation(
            run.out, results, run.task.chosen(best), run.test, grid if grid["grid"] else None
        )
    return results


def finetune(config: FinetuneConfig, out: Path) -> Results:
    """Train on a data set, keep the best weights and the last, test both.

    Args:
        out: The run's folder: config.json, log.jsonl, validation.jsonl, checkpoints/, best/, last/,
            results.json, predictions.npz, confusion.png, ….

    Returns:
        Scores of the best weights, those of the last beside them (`last_…`).

    Raises:
        InputError: Checkpoint, data and options do not fit each other.
    """
    begun = stored_settings(out) if config.resume else {}
    config, accelerator, machine = open_run(config, begun)
    if config.augment and config.rand_augment != "none":
        require_rand_augment(config.rand_augment)
    train = config.choose(open_split(config.place, "train"))
    config = without_mixing(config, train.task)
    test = open_split(config.place, config.test_split)
    require_fitting(train, test)
    decoder, chosen = settle_decoder(
        *(config.decoder, [video.path for video in train.videos]),
        frames=config.frames or ViewShape.frames,
        stride=config.stride,
        begun=begun.get("decoder"),
        reads=config.epochs * len(train),
    )
    said = "\n".join(filter(None, (machine.said, chosen)))
    config = replace(config, decoder=decoder)
    task = open_task(train, config)
    backbone = start_backbone(config)
    run = LabeledRun(
        config=config,
        out=out,
        accelerator=accelerator,
        task=task,
        backbone=backbone,
        train=train,
        test=test,
    )
    accelerator.print(said, file=sys.stderr)
    trainer = Trainer(run)
    step = trainer.train()
    trainer.stop.asked |= step < run.steps  # By --stop-at: there is nothing to test yet.
    trainer.leave_if_asked(out)
    accelerator.wait_for_everyone()
    results = score_both(run)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return results


def start_backbone(config: FinetuneConfig) -> Backbone:
    """What a run starts from: its checkpoint, or random weights.

    Raises:
        InputError: The checkpoint cannot be opened, or sides do not fit.
    """
    if config.from_scratch is None:
        return open_backbone(config.checkpoint, heads=config.heads)
    return untrained_backbone(
        config.from_scratch,
        frames=config.frames,
        size=config.size,
        patch=config.patch,
        seed=config.seed,
    )


def open_task(videos: LabeledVideos, config: FinetuneConfig) -> LabeledTask:
    """The task of a data set under the run's protocol.

    Raises:
        InputError: A protocol cannot ask it.
    """
    if config.protocol == "attentive":
        if videos.task == "count":
            raise InputError(f"{videos.name}: counts have no attentive probe; fine-tune on it")
        kind = AttentiveGrid if videos.task == "single-label" else MultiLabelGrid
        return kind(config=config, outputs=len(videos.classes) * len(GRID))
    match videos.task:
        case "single-label":
            kind = SingleLabel
        case "multi-label":
            kind = MultiLabel
        case "count":
            return Counting(config=config, outputs=1)
    return kind(config=config, outputs=len(videos.classes), classes=videos.classes)
