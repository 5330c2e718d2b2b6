"""Fine-tuning, and probing with a frozen backbone."""

from __future__ import annotations

import sys
from pathlib import Path

from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.checkpoints.backbone import Backbone, untrained_backbone
from smile_train.checkpoints.files import stored_settings
from smile_train.checkpoints.open import open_backbone
from smile_train.config.finetune import FinetuneConfig
from smile_train.config.finetune_presets import without_mixing
from smile_train.data.augmentation import require_rand_augment
from smile_train.datasets import LabelledVideos, open_split
from smile_train.datasets.base import require_fitting
from smile_train.evaluation.results import Results
from smile_train.training.accelerator import open_run
from smile_train.training.finetune_run import LabelledRun, score_both
from smile_train.training.tasks import Counting, LabelledTask, MultiLabel, SingleLabel
from smile_train.training.trainer import Trainer


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
    config, accelerator, said = open_run(config, begun)
    if config.augment and config.rand_augment != "none":
        require_rand_augment(config.rand_augment)
    train = config.choose(open_split(config.place, "train"))
    config = without_mixing(config, train.task)
    test = open_split(config.place, config.test_split)
    require_fitting(train, test)
    task = open_task(train, config)
    backbone = start_backbone(config)
    run = LabelledRun(
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
    paper = TokenGrid()
    side = config.size or paper.height
    grid = TokenGrid(
        frames=config.frames or paper.frames, height=side, width=side, patch=config.patch
    )
    return untrained_backbone(config.from_scratch, grid, config.seed)


def open_task(videos: LabelledVideos, config: FinetuneConfig) -> LabelledTask:
    """The task of a data set under the run's protocol.

    Raises:
        InputError: A protocol cannot ask it.
    """
    if config.protocol == "attentive":
        from smile_train.training.attentive import GRID, AttentiveGrid, MultiLabelGrid

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
