"""Pre-training: clips, teacher, student, loss, steps, checkpoints, pictures."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError

from smile_train.checkpoints.files import newest_checkpoint, stored_settings
from smile_train.checkpoints.open import open_checkpoint, start_from
from smile_train.config.pretrain import PretrainConfig
from smile_train.config.stages import plan_stages
from smile_train.data.device_clips import PlanRenderer, open_clips
from smile_train.data.moving_clips import TrainingClips
from smile_train.models.mae import PretrainModel
from smile_train.teachers import Teacher, open_teacher
from smile_train.training.accelerator import describe_processes, open_run, start_tracking
from smile_train.training.flops import Utilisation
from smile_train.training.length import fit_steps
from smile_train.training.losses import masked_loss, teach
from smile_train.training.metrics_logger import MetricsLogger
from smile_train.training.monitor import Watcher
from smile_train.training.nonfinite import FiniteLosses
from smile_train.training.optim import parameter_groups
from smile_train.training.state import RunState, describe, is_sharded
from smile_train.training.stop import StopRequest
from smile_train.training.updates import Updates, part_size

BROKEN_SHARE = 0.1
"""Training stops when more of the files tried than this cannot be used. Ours."""
BROKEN_MINIMUM = 20
"""Samples seen before that share is judged. Ours."""


def pretrain(config: PretrainConfig, out: Path) -> Path:
    """Run, or continue, a pre-training, in as many stages as its strategy has.

    out     the run's folder: config.json, log.jsonl, checkpoints/, the tracker's files, pictures;
            where there are two stages, each has a folder in it.
    returns the last checkpoint's folder.
    Raises InputError when the configuration does not fit its files, the machine, or the run that
    is there; when too many files are broken; when the disk is full; and when the loss is no longer
    finite.
    """
    begun = stored_settings(out, out / "stage-1") if config.resume else {}
    config, accelerator, said = open_run(config, begun)
    accelerator.print(said, file=sys.stderr)
    checkpoint = out
    for stage in plan_stages(config, out):
        begun = newest_checkpoint(stage.out / "checkpoints")[0] is not None
        resume = config.resume and (begun or stage.follows is None)
        settings = replace(stage.config, init=stage.follows or config.init, resume=resume)
        if resume and (stored := stored_settings(stage.out)):
            # As long as it was to be when it began, however fast this machine is.
            steps = stored.get("steps") if config.minutes is not None else None
            settings = replace(settings, minutes=None, steps=settings.steps or steps)
        checkpoint, finished = train_stage(settings, stage.out, accelerator)
        if not finished:
            break
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return checkpoint


def train_stage(config: PretrainConfig, out: Path, accelerator: Accelerator) -> tuple[Path, bool]:
    """Train from the first step, or from the newest checkpoint, to the last; see `pretrain`.

    returns the last checkpoint's folder, and whether all steps are done.
    """
    torch.manual_seed(config.seed)
    device, processes = accelerator.device, accelerator.num_processes
    clips = open_clips(config)
    part_size(config, processes)

    # Student, teacher, length, optimiser.
    model, teacher, said = build_models(config)
    steps = total_steps(config, clips)
    if config.minutes is not None:
        fitting, line = fit_steps(config, model, teacher, accelerator, steps)
        accelerator.print(line, file=sys.stderr)
        if fitting < steps:
            config, steps = replace(config, steps=fitting), fitting
    described = describe(
        config, model, steps=steps, bank_sha256=clips.maker.bank.card["metadata_sha256"]
    )
    utilisation = Utilisation.of(config, model, teacher, accelerator)
    watcher = Watcher.open(config, out, model, teacher)
    if teacher is not None:
        teacher.to(device)
    groups = parameter_groups(model, config.weight_decay)
    updates = Updates(config, accelerator, model, groups, steps=steps)
    student = updates.model
    if config.compile and teacher is not None:
        teacher.compile(dynamic=False)
    report = MetricsLogger(
        out,
        steps,
        views=config.masks_per_clip,
        batch=config.batch,
        epoch=clips.order.length,
        processes=processes,
        track=accelerator.log,
        quiet=not accelerator.is_main_process,
    )
    state = RunState(
        config=config,
        described=described,
        inputs={"bank_sha256": "the bank's objects have changed"},
        out=out,
        accelerator=accelerator,
        model=student,
        optimiser=updates.optimiser,
    )
    report.say(
        f"{out}: {steps} steps of {config.batch} clips x {config.masks_per_clip} masks, "
        f"{config.precision}, on {describe_processes(accelerator, sharded=is_sharded(student))}"
    )
    step = state.resume(report).get("step", 0) if config.resume else 0
    if step == 0:
        state.begin(report)
        for line in said:
            report.say(line)
    start_tracking(accelerator, config, out, described, step)

    # The loop.
    alone = processes == 1
    last = min(steps, config.stop_at or steps)
    # Killed between its last checkpoint and its last pictures, a run still owes these.
    owing = step >= last and step > 0 and "token_rank" not in report.measures.get(step, {})
    batches = iter(updates.open_loader(clips, step - owing))
    if config.render == "device":
        batches = map(PlanRenderer.open(config, clips.maker.bank, device), batches)
    stop, losses = StopRequest(), FiniteLosses(out, clips)
    batch: dict[str, Any] | None = None
    kept = step
    student.train()
    with report, stop:
        for _ in range(config.accumulate * owing):
            watcher.batch = stop.next_or_none(batches)
        ending = step >= last
        while not ending:
            updates.begin(step)
            for part in range(config.accumulate):
                waited = time.perf_counter()
                batch = stop.next_or_none(batches)
                if batch is None:
                    break
                watcher.batch = batch
                losses.saw(batch["number"])
                report.count(len(batch["frames"]), time.perf_counter() - waited, batch["broken"])
                frames, visible, masked = (
                    batch[name].to(device, non_blocking=True)
                    for name in ("frames", "visible", "masked")
                )
                with accelerator.autocast():
                    features = teach(frames, teacher, config)
                with updates.part(part):
                    updates.add(masked_loss(student, frames, visible, masked, features, config))
            if batch is None:
                break
            _refuse_broken(report, processes)
            step += 1
            losses.add(step, updates.end())
            report.advance(step)

            ending = step == last or (alone and stop.asked)
            saving = ending or step % config.save_every == 0
            if saving or step % config.log_every == 0:
                # All processes learn here whether one of them was asked to stop.
                mean, asked = updates.agree(losses.check(), stop.asked)
                report.record(step, loss=mean, **updates.measures(), **utilisation.since(step))
                ending |= asked
            if saving or ending:
                state.keep(step)
                kept = step
            if config.picture_every and step % config.picture_every == 0:
                watcher.look(accelerator, report, step)
            if not ending:
                watcher.probe_motion(accelerator, report, step, last=False)
        if kept != step:
            state.keep(step)
        watcher.look(accelerator, report, step)
        if step == steps:
            watcher.probe_motion(accelerator, report, step, last=True)
    if stop.asked:
        accelerator.end_training()
    stop.leave_if_asked(config.out or out)
    return out / "checkpoints" / f"step_{step:08d}", step == steps


def total_steps(config: PretrainConfig, clips: TrainingClips) -> int:
    """Optimiser steps of a stage: --steps, or the whole batches in --epochs."""
    if config.steps is not None:
        return config.steps
    return max(1, config.epochs * clips.order.length // config.batch)


def _refuse_broken(report: MetricsLogger, processes: int) -> None:
    if report.samples >= BROKEN_MINIMUM / processes:
        share = report.broken / (report.samples + report.broken)
        if share > BROKEN_SHARE:
            raise InputError(
                f"{report.broken} of the {report.samples + report.broken} files tried cannot be "
                f"used, over {BROKEN_SHARE:.0%} (the last: {report.last_broken}); mend the list"
            )


def build_models(config: PretrainConfig) -> tuple[PretrainModel, Teacher | None, list[str]]:
    """Build a run's student, and open its teacher if it has one.

    returns also a line for each thing that is not as in the checkpoint of --init.
    Raises InputError when a file is missing, or models and clips do not fit each other.
    """
    grid = config.grid
    teacher = None
    if config.target != "pixel":
        teacher = open_teacher(
            config.target,
            str(config.teacher_name),
            grid=grid,
            official_input=config.official_teacher_input,
        )
    target_dim = 3 * grid.token_pixels if teacher is None else teacher.width
    if config.init is None:
        model, said = PretrainModel(config.student_config, grid, target_dim), []
    else:
        source, opened = open_checkpoint(config.init)
        if source.config != config.student_config:
            raise InputError(
                f"{opened}: another student ({source.config}), --student {config.student} is "
                f"{config.student_config}; choose the one that it is of"
            )
        model = PretrainModel(config.student_config, grid, target_dim, trained=source.trained)
        said = start_from(source, opened, model)
    if config.gradient_checkpointing:
        model.save_memory()
    return model, teacher, said
