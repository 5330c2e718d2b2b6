"""Fine-tuning, and probing with a frozen backbone."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
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
from smile_train.training.accelerator import describe_processes, open_run, start_tracking
from smile_train.training.finetune_run import LabelledRun, score_both, validate
from smile_train.training.metrics_logger import MetricsLogger
from smile_train.training.nonfinite import FiniteLosses
from smile_train.training.state import RunState
from smile_train.training.stop import StopRequest
from smile_train.training.tasks import Counting, LabelledTask, MultiLabel, SingleLabel
from smile_train.training.updates import Updates


def finetune(config: FinetuneConfig, out: Path) -> Results:
    """Train on a data set, keep the best weights and the last, test both.

    out      the run's folder: config.json, log.jsonl, validation.jsonl, checkpoints/, best/, last/,
             results.json, predictions.npz, confusion.png, …
    returns  scores of the best weights, those of the last beside them (`last_…`).
    Raises InputError when checkpoint, data and options do not fit each other.
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
    train_run(run)
    accelerator.wait_for_everyone()
    results = score_both(run)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return results


def start_backbone(config: FinetuneConfig) -> Backbone:
    """What a run starts from: its checkpoint, or random weights.

    Raises InputError when the checkpoint cannot be opened, or sides do not fit.
    """
    if config.from_scratch is None:
        return open_backbone(config.checkpoint, heads=config.heads)
    paper = TokenGrid()
    side = config.size or paper.height
    grid = TokenGrid(
        frames=config.frames or paper.frames, height=side, width=side, patch=config.patch
    )
    return untrained_backbone(config.from_scratch, grid, config.seed)


def train_run(run: LabelledRun) -> None:
    """Train from the first step, or from the newest checkpoint, to the last."""
    config, accelerator = run.config, run.accelerator
    processes, steps = accelerator.num_processes, run.steps
    groups = run.task.groups(run.model, run.backbone.config.depth)
    updates = Updates(config, accelerator, run.model, groups, steps=steps)
    report = MetricsLogger(
        run.out,
        steps,
        views=config.repeats,
        batch=config.batch,
        epoch=len(run.train),
        processes=processes,
        track=accelerator.log,
        quiet=not accelerator.is_main_process,
    )
    described = run.describe()
    state = RunState(
        config=config,
        described=described,
        inputs={
            "train_sha256": "the training samples have changed",
            "checkpoint_sha256": "the checkpoint to start from has changed",
        },
        out=run.out,
        accelerator=accelerator,
        model=updates.model,
        optimiser=updates.optimiser,
    )
    report.say(
        f"{run.out}: {len(run.train)} videos, {steps} steps of {config.batch} x "
        f"{config.repeats} clips, {config.precision}, on "
        f"{describe_processes(accelerator, sharded=False)}"
    )
    step = 0
    if config.resume and (stored := state.resume(report)):
        step, run.best = stored["step"], stored["best"]
        if run.ema is not None:
            run.ema.module.load_state_dict(stored["ema"])
    else:
        state.begin(report)
    start_tracking(accelerator, config, run.out, described, step)
    per_epoch = steps / config.epochs
    last = min(steps, config.stop_at or steps)
    stop, losses = StopRequest(), FiniteLosses(run.out, run.clips)
    batches = iter(updates.open_loader(run.clips, step))
    batch: dict[str, Any] | None = None
    kept = step
    updates.model.train()
    with report, stop:
        ending = step >= last
        while not ending:
            updates.begin(step)
            for part in range(config.accumulate):
                waited = time.perf_counter()
                batch = stop.next_or_none(batches)
                if batch is None:
                    break
                losses.saw(batch["number"])
                report.count(len(batch["number"]), time.perf_counter() - waited, batch["broken"])
                with updates.part(part):
                    with accelerator.autocast():
                        loss = _loss(run, updates.model, batch)
                    updates.add(loss)
            if batch is None:
                break
            step += 1
            losses.add(step, updates.end())
            if run.ema is not None:
                run.ema.update(run.model)
            report.advance(step)

            ending = step == last or (processes == 1 and stop.asked)
            saving = ending or step % config.save_every == 0
            if saving or step % config.log_every == 0:
                # All processes learn here whether one of them was asked to stop.
                mean, asked = updates.agree(losses.check(), stop.asked)
                report.record(step, loss=mean, **updates.measures())
                ending |= asked
            epoch = int(step / per_epoch)
            crossed = epoch > int((step - 1) / per_epoch)
            if step == steps or (crossed and epoch % config.validate_every == 0):
                validate(run, report, step)
            if saving or ending:
                _keep(run, state, step)
                kept = step
        if kept != step:
            _keep(run, state, step)
    stop.asked |= step < steps  # By --stop-at: there is nothing to test yet.
    if stop.asked:
        accelerator.end_training()
    stop.leave_if_asked(run.out)


def _keep(run: LabelledRun, state: RunState, step: int) -> None:
    more: dict[str, Any] = {"best": run.best}
    if run.ema is not None:
        more["ema"] = run.ema.module.state_dict()
    state.keep(step, more)


def _loss(run: LabelledRun, model: torch.nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    device = run.accelerator.device
    frames = batch["frames"].to(device, non_blocking=True)
    target = batch["target"].to(device, non_blocking=True)
    numbers = batch["number"].tolist()
    repeats = frames.shape[1]
    # Repeats of a clip lie a batch apart, so that neighbours are different videos.
    clips = frames.transpose(0, 1).flatten(0, 1)
    return run.task.loss(
        model,
        clips,
        target.repeat(repeats, *[1] * (target.ndim - 1)),
        [number + 2**40 * part for part in range(repeats) for number in numbers],
    )


def open_task(videos: LabelledVideos, config: FinetuneConfig) -> LabelledTask:
    """The task of a data set under the run's protocol.

    Raises InputError where a protocol cannot ask it.
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
