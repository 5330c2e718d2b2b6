"""Pre-training, top to bottom: clips, teacher, student, loss, steps, checkpoints, pictures."""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError

from smile_train.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from smile_train.config import PretrainConfig
from smile_train.data import ClipLoader, MicroBatches, TrainingClips, open_clips
from smile_train.data.planned import PlanRenderer
from smile_train.model import PretrainModel
from smile_train.objective import masked_loss, teach
from smile_train.optim import parameter_groups, warmup_cosine
from smile_train.pictures import Reconstruction, draw_loss_curve, draw_reconstructions
from smile_train.report import Report
from smile_train.stopping import StopRequest, children_ignoring_stops
from smile_train.teachers import ClipTeacher

BROKEN_SHARE = 0.1
"""Training stops when more of the files tried than this cannot be used. Ours."""
BROKEN_MINIMUM = 20
"""Samples seen before that share is judged. Ours."""


def pretrain(config: PretrainConfig, out: Path) -> Path:
    """Run, or continue, a pre-training.

    out     the run's folder: config.json, log.jsonl, checkpoints/, TensorBoard's files, pictures.
    returns the last checkpoint's folder.
    Raises InputError when the configuration does not fit its files, the machine, or the run that
    is there; when too many files are broken; and when the loss is no longer finite.
    """
    accelerator = Accelerator(
        mixed_precision="no" if config.precision == "fp32" else config.precision,
        cpu=not torch.cuda.is_available(),
    )
    torch.manual_seed(config.seed)
    clips = open_clips(config)
    steps = total_steps(config, clips)
    share = config.accumulate * accelerator.num_processes
    if config.batch % share:
        raise InputError(
            f"--batch {config.batch} cannot be split over {accelerator.num_processes} processes x "
            f"{config.accumulate} parts; use a multiple of {share}"
        )

    # Student, teacher, optimiser.
    grid = config.grid
    teacher = None
    target_dim = 3 * grid.token_pixels
    if config.target == "clip":
        teacher = ClipTeacher.open(config.teacher, official_input=config.official_teacher_input)
        teacher.to(accelerator.device)
        target_dim = teacher.width
    model = PretrainModel(config.student_config, grid, target_dim)
    described = {
        **config.to_json(),
        "student_config": asdict(config.student_config),
        "grid": asdict(grid),
        "target_dim": target_dim,
        "steps_total": steps,
        "bank_sha256": clips.maker.bank.card["metadata_sha256"],
    }
    optimiser = torch.optim.AdamW(
        parameter_groups(model, config.weight_decay),
        lr=0.0,
        betas=config.betas,
        fused=accelerator.device.type == "cuda",
    )
    scale = config.batch / 256
    rates = warmup_cosine(
        config.base_lr * scale,
        config.min_lr * scale,
        steps,
        round(config.warmup_epochs * steps / max(config.epochs, 1)),
    )
    report = Report(out, steps, quiet=not accelerator.is_main_process)
    step = _resume(config, described, model, optimiser, report) if config.resume else 0
    if step == 0 and accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    student, optimiser = accelerator.prepare(model, optimiser)
    loader = ClipLoader(
        clips=clips,
        layout=MicroBatches(
            first_step=step,
            steps=steps,
            batch=config.batch,
            parts=config.accumulate,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        ),
        workers=config.workers,
        pin=accelerator.device.type == "cuda",
    )

    def keep() -> None:
        """Write a checkpoint of the step that has just ended."""
        save_checkpoint(
            folder,
            step,
            weights=accelerator.unwrap_model(student).state_dict(),
            training={
                "step": step,
                "optimiser": optimiser.state_dict(),
                "generator": torch.get_rng_state(),
            },
            config=described,
            keep=config.keep,
        )

    # The loop.
    folder = out / "checkpoints"
    alone = accelerator.num_processes == 1
    with children_ignoring_stops():
        batches = iter(loader)
    if config.render == "device":
        batches = map(PlanRenderer.open(config, clips.maker.bank, accelerator.device), batches)
    stop = StopRequest()
    batch: dict[str, Any] | None = None
    shown: dict[str, Any] | None = None
    kept = step
    student.train()
    with report, stop:
        ending = step >= steps
        while not ending:
            for group in optimiser.param_groups:
                group["lr"] = float(rates[step]) * group["lr_scale"]
            total = torch.zeros((), device=accelerator.device)
            for part in range(config.accumulate):
                waited = time.perf_counter()
                batch = stop.next_or_none(batches)
                if batch is None:
                    break
                shown = batch
                report.count(len(batch["frames"]), time.perf_counter() - waited, batch["broken"])
                frames, visible, masked = (
                    batch[name].to(accelerator.device, non_blocking=True)
                    for name in ("frames", "visible", "masked")
                )
                with accelerator.autocast():
                    features = teach(frames, teacher, config)
                unfinished = part < config.accumulate - 1
                with accelerator.no_sync(student) if unfinished else nullcontext():
                    loss = masked_loss(student, frames, visible, masked, features, config)
                    accelerator.backward(loss / config.accumulate)
                total += loss.detach() / config.accumulate
            if batch is None:
                break
            _refuse_broken(report, accelerator.num_processes)
            norm = accelerator.clip_grad_norm_(student.parameters(), config.clip_grad or math.inf)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            step += 1
            report.advance(step)

            ending = step == steps or (alone and stop.asked)
            saving = ending or step % config.save_every == 0
            if saving or step % config.log_every == 0:
                # All processes learn here whether one of them was asked to stop.
                mean, asked = _agree(accelerator, total, stop.asked)
                if not math.isfinite(mean):
                    raise InputError(
                        f"step {step}: the loss is {mean}; the last good checkpoint is kept in "
                        f"{folder}; resume with a lower --base-lr or with --precision fp32"
                    )
                report.record(step, loss=mean, lr=float(rates[step - 1]), grad_norm=float(norm))  # type: ignore[arg-type]
                ending |= asked
            if accelerator.is_main_process and (saving or ending):
                keep()
                kept = step
            if config.picture_every and step % config.picture_every == 0:
                _draw(out, accelerator, student, shown, teacher, config, report)
        if accelerator.is_main_process and kept != step:
            keep()
        _draw(out, accelerator, student, shown, teacher, config, report)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    stop.leave_if_asked(out)
    return folder / f"step_{step:08d}"


def _agree(accelerator: Accelerator, loss: torch.Tensor, asked: bool) -> tuple[float, bool]:
    """Mean loss over processes, and whether any of them was asked to stop."""
    both = torch.stack([loss, torch.full_like(loss, float(asked))])
    mean, wish = accelerator.reduce(both, "mean").tolist()  # type: ignore[union-attr]
    return mean, wish > 0


def total_steps(config: PretrainConfig, clips: TrainingClips) -> int:
    """Optimiser steps of a run: --steps, or the whole batches in --epochs."""
    if config.steps is not None:
        return config.steps
    return max(1, config.epochs * clips.order.length // config.batch)


def _resume(
    config: PretrainConfig,
    described: dict[str, Any],
    model: PretrainModel,
    optimiser: torch.optim.Optimizer,
    report: Report,
) -> int:
    """Put everything back as the newest sound checkpoint has it; returns its step."""
    out = report.out
    path, passed = newest_checkpoint(out / "checkpoints")
    for line in passed:
        report.say(line)
    if path is None:
        raise InputError(f"{out}: no sound checkpoint to resume from; start it without --resume")
    weights, training, stored = load_checkpoint(path)
    differing = config.differing(stored)
    if stored.get("bank_sha256") != described["bank_sha256"]:
        differing.append("the bank's objects have changed")
    if differing:
        raise InputError(f"{path}: another configuration ({'; '.join(differing)})")
    model.load_state_dict(weights)
    optimiser.load_state_dict(training["optimiser"])
    torch.set_rng_state(training["generator"])
    report.restore(training["step"])
    report.say(f"resumed from {path}")
    return training["step"]


def _refuse_broken(report: Report, processes: int) -> None:
    if report.samples >= BROKEN_MINIMUM / processes:
        share = report.broken / (report.samples + report.broken)
        if share > BROKEN_SHARE:
            raise InputError(
                f"{report.broken} of the {report.samples + report.broken} files tried cannot be "
                f"used, over {BROKEN_SHARE:.0%} (the last: {report.last_broken}); mend the list"
            )


@torch.no_grad()
def _draw(
    out: Path,
    accelerator: Accelerator,
    student: torch.nn.Module,
    batch: dict[str, Any] | None,
    teacher: ClipTeacher | None,
    config: PretrainConfig,
    report: Report,
) -> None:
    """Draw the loss so far, and what the student makes of the first clips of a batch."""
    if batch is None or not accelerator.is_main_process:
        return
    model, device = accelerator.unwrap_model(student), accelerator.device
    draw_loss_curve(out / "loss.png", report.history)
    frames = batch["frames"][:3].to(device)
    visible, masked = batch["visible"][:3, 0].to(device), batch["masked"][:3, 0].to(device)
    model.eval()
    predicted = model(frames, visible, masked).float().cpu()
    features = teach(frames, teacher, config)
    model.train()
    clips = [
        Reconstruction(
            frames=frames[i].cpu(),
            masked=masked[i].cpu(),
            predicted=predicted[i],
            features=None if features is None else features[i].float().cpu(),
        )
        for i in range(len(frames))
    ]
    draw_reconstructions(out / "reconstruction.png", clips, config.grid)
