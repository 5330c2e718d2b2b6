"""Fine-tuning, and probing with a frozen backbone, top to bottom."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from smile_train.cost import peak_memory
from smile_train.data import ClipLoader, MicroBatches
from smile_train.datasets import open_split
from smile_train.datasets.labelled import require_same_classes
from smile_train.evaluate.results import Results
from smile_train.finetune_config import FinetuneConfig
from smile_train.finite import FiniteLosses
from smile_train.interop.backbones import open_backbone
from smile_train.labelled_run import LabelledRun
from smile_train.labelled_testing import score_both, validate
from smile_train.optim import warmup_cosine
from smile_train.report import Report
from smile_train.run_state import RunState
from smile_train.stopping import StopRequest
from smile_train.tasks import open_task
from smile_train.tracking import describe_processes, open_accelerator, start_tracking


def finetune(config: FinetuneConfig, out: Path) -> Results:
    """Train on a data set, keep the best weights and the last, test both.

    out      the run's folder: config.json, log.jsonl, validation.jsonl, checkpoints/, best/, last/,
             results.json, predictions.npz, confusion.png, …
    returns  scores of the best weights, those of the last beside them (`last_…`).
    Raises InputError when checkpoint, data and options do not fit each other.
    """
    accelerator = open_accelerator(config)
    train = config.choose(open_split(config.place, "train"))
    test = open_split(config.place, config.test_split)
    require_same_classes(train, test)
    task = open_task(train, config)
    backbone = open_backbone(config.checkpoint, heads=config.heads)
    run = LabelledRun(
        config=config,
        out=out,
        accelerator=accelerator,
        task=task,
        backbone=backbone,
        train=train,
        test=test,
    )
    train_run(run)
    accelerator.wait_for_everyone()
    results = score_both(run)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return results


def train_run(run: LabelledRun) -> None:
    """Train from the first step, or from the newest checkpoint, to the last."""
    config, accelerator = run.config, run.accelerator
    device, processes = accelerator.device, accelerator.num_processes
    optimiser = torch.optim.AdamW(
        run.task.groups(run.model, run.backbone.config.depth),
        lr=0.0,
        betas=config.betas,
        fused=device.type == "cuda",
    )
    scale, steps = config.batch / 256, run.steps
    rates = warmup_cosine(
        config.base_lr * scale,
        config.min_lr * scale,
        steps,
        round(config.warmup_epochs * steps / config.epochs),
    )
    model, optimiser = accelerator.prepare(run.model, optimiser)
    if config.compile:
        run.model.compile(dynamic=False)
    report = Report(
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
        model=model,
        optimiser=optimiser,
    )
    report.say(
        f"{run.out}: {len(run.train)} videos, {steps} steps of {config.batch} x "
        f"{config.repeats} clips, {config.precision}, on "
        f"{describe_processes(accelerator, sharded=False)}"
    )
    step = 0
    if config.resume:
        kept = state.resume(report)
        step, run.best = kept["step"], kept["best"]
        if run.ema is not None:
            run.ema.module.load_state_dict(kept["ema"])
    else:
        state.begin()
    start_tracking(accelerator, config, run.out, described)
    loader = ClipLoader(
        clips=run.clips,
        layout=MicroBatches(
            first_step=step,
            steps=steps,
            batch=config.batch,
            parts=config.accumulate,
            process=accelerator.process_index,
            processes=processes,
        ),
        workers=config.workers,
        pin=device.type == "cuda",
    )
    per_epoch = steps / config.epochs
    last = min(steps, config.stop_at or steps)
    stop, losses = StopRequest(), FiniteLosses(run.out, run.clips)
    batches = iter(loader)
    model.train()
    with report, stop:
        ending = step >= last
        while not ending:
            for group in optimiser.param_groups:
                group["lr"] = float(rates[step]) * group["lr_scale"]
            total = torch.zeros((), device=device)
            for part in range(config.accumulate):
                waited = time.perf_counter()
                batch: dict[str, Any] | None = stop.next_or_none(batches)
                if batch is None:
                    return stop.leave_if_asked(run.out)
                losses.saw(batch["number"])
                report.count(len(batch["number"]), time.perf_counter() - waited, batch["broken"])
                unfinished = part < config.accumulate - 1
                with accelerator.no_sync(model) if unfinished else nullcontext():
                    with accelerator.autocast():
                        loss = _loss(run, model, batch)
                    accelerator.backward(loss / config.accumulate)
                total += loss.detach() / config.accumulate
            norm = accelerator.clip_grad_norm_(model.parameters(), config.clip_grad or math.inf)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            step += 1
            if run.ema is not None:
                run.ema.update(run.model)
            losses.add(step, total)
            report.advance(step)

            ending = step == last or (processes == 1 and stop.asked)
            saving = ending or step % config.save_every == 0
            if saving or step % config.log_every == 0:
                values = torch.stack([losses.check(), torch.tensor(float(stop.asked))])
                both: Any = accelerator.reduce(values.to(device), "mean")
                report.record(
                    step,
                    loss=float(both[0]),
                    lr=float(rates[step - 1]),
                    grad_norm=float(norm),  # type: ignore[arg-type]
                    peak_memory_mb=peak_memory(device) / 1e6,
                )
                ending |= bool(both[1] > 0)
            epoch = int(step / per_epoch)
            crossed = epoch > int((step - 1) / per_epoch)
            if step == steps or (crossed and epoch % config.validate_every == 0):
                validate(run, report, step)
            if saving or ending:
                more = {"best": run.best}
                if run.ema is not None:
                    more["ema"] = run.ema.module.state_dict()
                state.keep(step, more)
    if stop.asked:
        accelerator.end_training()
    stop.leave_if_asked(run.out)


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
