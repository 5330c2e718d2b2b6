"""Fine-tuning, and linear probing with a frozen backbone, top to bottom."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError

from smile_train.checkpoint import load_checkpoint, write_checkpoint
from smile_train.cost import peak_memory
from smile_train.data import ClipLoader, MicroBatches, SampleOrder
from smile_train.data.labelled_clips import ClipAugmentation, LabelledClips
from smile_train.data.views import TestViews
from smile_train.datasets import LabelledVideos, open_split
from smile_train.datasets.labelled import require_same_classes
from smile_train.evaluate.reporting import write_evaluation
from smile_train.evaluate.results import Results
from smile_train.evaluate.testing import Predictions, ViewShape, predict
from smile_train.finetune_config import FinetuneConfig
from smile_train.finite import FiniteLosses
from smile_train.interop.backbones import Backbone, open_backbone
from smile_train.optim import warmup_cosine
from smile_train.recipes import changed_options
from smile_train.report import Report
from smile_train.run_state import RunState
from smile_train.stopping import StopRequest, children_ignoring_stops
from smile_train.tasks import LabelledTask, open_task
from smile_train.tracking import describe_processes, open_accelerator, start_tracking
from smile_train.watching import evaluating


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
    trainer = Trainer(
        config=config,
        out=out,
        accelerator=accelerator,
        task=task,
        backbone=backbone,
        train=train,
        test=test,
    )
    trainer.run()
    accelerator.wait_for_everyone()
    results = trainer.test_both()
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return results


class Trainer:
    """One run: its parts, its loop, its validation and test."""

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
        processes = accelerator.num_processes
        parts = config.accumulate * processes
        if config.batch % parts:
            raise InputError(
                f"--batch {config.batch} cannot be split over {processes} processes x "
                f"{config.accumulate} parts; use a multiple of {parts}"
            )
        if (config.mixup or config.cutmix) and (config.batch // parts) % 2:
            raise InputError(
                f"--batch {config.batch} over {parts} parts is an odd share, clips are mixed in "
                f"pairs; use a multiple of {2 * parts}, or --mixup 0 --cutmix 0"
            )
        self.config, self.out, self.accelerator, self.task = config, out, accelerator, task
        self.backbone, self.train, self.test = backbone, train, test
        self.model: Any = task.build(backbone)
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

    def run(self) -> None:
        """Train from the first step, or from the newest checkpoint, to the last."""
        config, accelerator = self.config, self.accelerator
        device, processes = accelerator.device, accelerator.num_processes
        optimiser = torch.optim.AdamW(
            self.task.groups(self.model, self.backbone.config.depth),
            lr=0.0,
            betas=config.betas,
            fused=device.type == "cuda",
        )
        scale, steps = config.batch / 256, self.steps
        rates = warmup_cosine(
            config.base_lr * scale,
            config.min_lr * scale,
            steps,
            round(config.warmup_epochs * steps / config.epochs),
        )
        model, optimiser = accelerator.prepare(self.model, optimiser)
        if config.compile:
            self.model.compile(dynamic=False)
        report = Report(
            self.out,
            steps,
            views=config.repeats,
            batch=config.batch,
            epoch=len(self.train),
            processes=processes,
            track=accelerator.log,
            quiet=not accelerator.is_main_process,
        )
        described = self.describe()
        state = RunState(
            config=config,
            described=described,
            inputs={
                "train_sha256": "the training samples have changed",
                "checkpoint_sha256": "the checkpoint to start from has changed",
            },
            out=self.out,
            accelerator=accelerator,
            model=model,
            optimiser=optimiser,
        )
        report.say(
            f"{self.out}: {len(self.train)} videos, {steps} steps of {config.batch} x "
            f"{config.repeats} clips, {config.precision}, on "
            f"{describe_processes(accelerator, sharded=False)}"
        )
        step = 0
        if config.resume:
            kept = state.resume(report)
            step, self.best = kept["step"], kept["best"]
            if self.ema is not None:
                self.ema.module.load_state_dict(kept["ema"])
        else:
            state.begin()
        start_tracking(accelerator, config, self.out, described)
        loader = ClipLoader(
            clips=self.clips,
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
        stop, losses = StopRequest(), FiniteLosses(self.out, self.clips)
        with children_ignoring_stops():
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
                        return stop.leave_if_asked(self.out)
                    losses.saw(batch["number"])
                    report.count(
                        len(batch["number"]), time.perf_counter() - waited, batch["broken"]
                    )
                    unfinished = part < config.accumulate - 1
                    with accelerator.no_sync(model) if unfinished else nullcontext():
                        with accelerator.autocast():
                            loss = self._loss(model, batch)
                        accelerator.backward(loss / config.accumulate)
                    total += loss.detach() / config.accumulate
                norm = accelerator.clip_grad_norm_(model.parameters(), config.clip_grad or math.inf)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                step += 1
                if self.ema is not None:
                    self.ema.update(self.model)
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
                    self._validate(report, step)
                if saving or ending:
                    more = {"best": self.best}
                    if self.ema is not None:
                        more["ema"] = self.ema.module.state_dict()
                    state.keep(step, more)
        if stop.asked:
            accelerator.end_training()
        stop.leave_if_asked(self.out)

    def _loss(self, model: torch.nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        device = self.accelerator.device
        frames = batch["frames"].to(device, non_blocking=True)
        target = batch["target"].to(device, non_blocking=True)
        numbers = batch["number"].tolist()
        repeats = frames.shape[1]
        # Repeats of a clip lie a batch apart, so that neighbours are different videos.
        clips = frames.transpose(0, 1).flatten(0, 1)
        return self.task.loss(
            model,
            clips,
            target.repeat(repeats, *[1] * (target.ndim - 1)),
            [number + 2**40 * part for part in range(repeats) for number in numbers],
        )

    def _validate(self, report: Report, step: int) -> None:
        """Score one view of each test video; keep the weights where they are the best so far."""
        scored = self.score(self.tested, TestViews())
        metrics = self.task.metrics(scored, self.test)
        report.measure(step, metrics)
        value = metrics[self.task.main_metric]
        if self.best is None or self.task.sign * (value - self.best) > 0:
            self.best = value
            self._keep_weights("best", step)
        if step == self.steps:
            self._keep_weights("last", step)
        report.say(f"step {step}: {self.task.main_metric} {value:.2f} (best {self.best:.2f})")

    @property
    def tested(self) -> torch.nn.Module:
        """The model, or its moving average."""
        return self.model if self.ema is None else self.ema.module

    def score(self, model: torch.nn.Module, views: TestViews) -> Predictions:
        """Scores of the test split under some views."""
        with evaluating(model):
            return predict(
                lambda clips: self.task.score(model(clips)),
                self.test,
                outputs=self.task.outputs,
                shape=self.shape,
                views=views,
                accelerator=self.accelerator,
                workers=self.config.workers,
                ensemble=self.task.ensemble,
                allow_missing=self.config.allow_missing,
            )

    def test_both(self) -> Results:
        """Test the best weights and the last on all views, and write what was found."""
        views = TestViews(segments=self.config.segments, crops=self.config.crops)
        metrics: dict[str, float] = {}
        best: Predictions | None = None
        for name, prefix in (("last", "last_"), ("best", "")):
            weights, _, _ = load_checkpoint(self.out / name)
            self.tested.load_state_dict(weights)
            best = self.score(self.tested, views)
            found = self.task.metrics(best, self.test)
            metrics |= {f"{prefix}{key}": value for key, value in found.items()}
        assert best is not None
        results = Results(
            protocol=self.config.protocol,
            dataset=self.test.name,
            split=self.test.split,
            samples=len(best.keys),
            metrics=metrics,
            main_metric=self.task.main_metric,
            checkpoint={"source": str(self.config.checkpoint), "sha256": self.backbone.sha256},
            pretraining=self.backbone.pretraining,
            dataset_sha256={"train": self.train.sha256, self.test.split: self.test.sha256},
            partial=self.train.partial or self.test.partial or bool(best.broken),
            config=self.config.to_json() | {"views": str(views)},
            ours=changed_options(self.config),
        )
        if self.accelerator.is_main_process:
            grid = {"grid": self.task.grid_of(best), "chosen_on": self.test.split}
            write_evaluation(
                self.out, results, self.task.chosen(best), self.test, grid if grid["grid"] else None
            )
        return results

    def _keep_weights(self, name: str, step: int) -> None:
        if self.accelerator.is_main_process:
            weights = {key: value.cpu() for key, value in self.tested.state_dict().items()}
            write_checkpoint(
                self.out / name, step, weights=weights, training={}, config=self.describe()
            )

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
