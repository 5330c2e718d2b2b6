"""The training loop, the same for pre-training, fine-tuning and probes on a frozen encoder.

A step takes its micro-batches, adds up the gradients of their losses, and changes the weights; now
and then it is logged, validated, stored and looked at:

    run = PretrainRun(config, out, accelerator)
    trainer = Trainer(run)
    step = trainer.train()
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError
from smile_motion.io.files import remove_leftovers

from smile_train.config.finetune import FinetuneConfig
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.loader import ClipLoader, Samples
from smile_train.data.sampling import MicroBatches
from smile_train.training.accelerator import describe_processes, peak_memory, start_tracking
from smile_train.training.metrics_logger import MetricsLogger
from smile_train.training.nonfinite import FiniteLosses, TracedSamples
from smile_train.training.optim import warmup_cosine
from smile_train.training.state import RunState, is_sharded
from smile_train.training.stop import StopRequest

Config = TypeVar("Config", PretrainConfig, FinetuneConfig)


class TrainingSamples(Samples, TracedSamples, Protocol):
    """Samples that a loader makes, and whose files can be named."""


Clips = TypeVar("Clips", bound=TrainingSamples)


class TrainingRun(ABC, Generic[Config, Clips]):
    """A kind of training, as the loop sees it; hooks that it leaves out do nothing."""

    config: Config
    """Options of the run; precision and threads are settled."""
    out: Path
    """Folder of the stage."""
    accelerator: Accelerator
    """Processes of the run."""
    model: Any
    """What is trained, a module, as it was before `accelerator.prepare`."""
    clips: Clips
    """What it is trained on."""
    steps: int
    """Steps of the whole run."""
    views: int
    """Views of a clip in a step."""
    title: str
    """Line that the run logs when it begins."""
    said: list[str]
    """Further lines that a new run logs."""
    inputs: ClassVar[Mapping[str, str]]
    """Entries of `describe` that tell inputs apart, and what to say where one has changed."""
    batch: dict[str, Any] | None = None
    """The micro-batch that was learned last."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Everything that the run depends on, and what its model is built from, as JSON values."""

    @abstractmethod
    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimizer, with `weight_decay` and `lr_scale` of each group."""

    @abstractmethod
    def loss(self, model: torch.nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        """Mean loss of a micro-batch, a scalar; `model` is the one that is prepared."""

    def batches(self, loader: ClipLoader) -> Iterator[dict[str, Any]]:
        """Micro-batches as `loss` takes them."""
        return iter(loader)

    def require_sound(self, report: MetricsLogger) -> None:
        """Raise InputError where too many of the files tried are broken."""

    def after_update(self) -> None:
        """Follow the weights, which have changed."""

    def measures(self, step: int) -> dict[str, float]:
        """What is logged at a step besides the loss, by its name in logs."""
        return {}

    def validate(self, report: MetricsLogger, step: int) -> None:
        """Score the model at a step, where that is due; before a checkpoint, which stores it."""

    def watch(self, report: MetricsLogger, step: int, *, ending: bool) -> None:
        """Look at the model at a step, where that is due; after a checkpoint."""

    def finish(self, report: MetricsLogger, step: int) -> None:
        """Look at the model after the last step of this process."""

    def owes(self, report: MetricsLogger, step: int, *, ending: bool) -> bool:
        """Whether a run was killed between a checkpoint and what `watch` makes of its step, or
        `finish`, of the last one; both need the step's batch."""
        return False

    def state(self) -> dict[str, Any]:
        """What the run continues from besides weights and optimizer: tensors and plain values."""
        return {}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Put `state` back."""


class Trainer:
    """The training loop of a run: optimizer, step, log, state."""

    def __init__(self, run: TrainingRun[Any, Any]) -> None:
        """Put the model on its device, among its processes, with an optimizer."""
        self.run = run
        config, accelerator = run.config, run.accelerator
        self.config, self.accelerator = config, accelerator
        optimizer = torch.optim.AdamW(run.groups(), lr=0.0, betas=config.betas, fused=True)
        scale = config.batch / 256
        self.rates = warmup_cosine(
            config.base_lr * scale,
            config.min_lr * scale,
            run.steps,
            round(config.warmup_epochs * run.steps / max(config.epochs, 1)),
        )
        self.model, self.optimizer = accelerator.prepare(run.model, optimizer)
        if config.compile:
            accelerator.unwrap_model(self.model).compile(dynamic=False)
        self.report = MetricsLogger(
            run.out,
            run.steps,
            views=run.views,
            batch=config.batch,
            epoch=run.clips.order.length,
            processes=accelerator.num_processes,
            track=accelerator.log,
            quiet=not accelerator.is_main_process,
        )
        self.state = RunState(
            config=config,
            described=run.describe(),
            inputs=run.inputs,
            out=run.out,
            accelerator=accelerator,
            model=self.model,
            optimizer=self.optimizer,
        )
        self.losses = FiniteLosses(run.out, run.clips)
        self.stop = StopRequest()
        self._norm = torch.zeros(())

    def train(self) -> int:
        """Train from the first step, or from the newest checkpoint, to the last.

        Returns:
            The step that is reached; see `leave_if_asked` where that is not the last.

        Raises:
            InputError: The loss is no longer finite, the disk is full, or the checkpoint is of
                another run.
        """
        run, config, report, stop = self.run, self.config, self.report, self.stop
        step = kept = self.begin()
        last = min(run.steps, config.stop_at or run.steps)
        ending = step >= last
        owing = step > 0 and run.owes(report, step, ending=ending)
        batches = run.batches(self.open_loader(step - owing))
        alone = self.accelerator.num_processes == 1
        self.model.train()
        with report, stop:
            for _ in range(config.accumulate * owing):
                run.batch = stop.next_or_none(batches)
            if owing and not ending:
                run.watch(report, step, ending=False)
            while not ending:
                loss = self.update(step, batches)
                if loss is None:
                    break
                step += 1
                self.losses.add(step, loss)
                run.after_update()
                report.advance(step)

                ending = step == last or (alone and stop.asked)
                saving = ending or step % config.save_every == 0
                if saving or step % config.log_every == 0:
                    ending |= self.log(step)
                run.validate(report, step)
                if saving or ending:
                    self.state.keep(step, run.state())
                    kept = step
                run.watch(report, step, ending=ending)
            if kept != step:
                self.state.keep(step, run.state())
            run.finish(report, step)
        return step

    def begin(self) -> int:
        """Take up the newest checkpoint where the run is to be resumed; else start anew.

        Returns:
            The step that it is of; 0 for a new run.
        """
        run, report = self.run, self.report
        processes = describe_processes(self.accelerator, sharded=is_sharded(self.model))
        report.say(f"{run.out}: {run.title}, {self.config.precision}, on {processes}")
        if self.accelerator.is_main_process:
            remove_leftovers(run.out)  # such as a picture that was being drawn
        stored = self.state.resume(report) if self.config.resume else {}
        if stored:
            run.restore(stored)
        else:
            self.state.begin(report)
            for line in run.said:
                report.say(line)
        step = stored.get("step", 0)
        start_tracking(self.accelerator, self.config, run.out, self.state.described, step)
        return step

    def open_loader(self, first_step: int) -> ClipLoader:
        """This process's share of the clips of the run, a micro-batch after the other."""
        return ClipLoader(
            clips=self.run.clips,
            layout=MicroBatches(
                first_step=first_step,
                steps=self.run.steps,
                batch=self.config.batch,
                parts=self.config.accumulate,
                process=self.accelerator.process_index,
                processes=self.accelerator.num_processes,
            ),
            workers=self.config.workers,
            pin=self.accelerator.device.type == "cuda",
            clips_per_video=self.run.clips.order.clips_per_video,
        )

    def update(self, step: int, batches: Iterator[dict[str, Any]]) -> torch.Tensor | None:
        """Change the weights by the gradient of a step, counted from 0.

        Returns:
            Its mean loss, a scalar on the device; None where there are no more batches because the
            workers were stopped with the run.
        """
        config, accelerator = self.config, self.accelerator
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.rates[step]) * group["lr_scale"]
        mean = torch.zeros((), device=accelerator.device)
        for part in range(config.accumulate):
            batch = self._next(batches)
            if batch is None:
                return None
            # Processes add their gradients in the last part.
            unfinished = part < config.accumulate - 1
            with accelerator.no_sync(self.model) if unfinished else nullcontext():
                loss = self.run.loss(self.model, batch)
                accelerator.backward(loss / config.accumulate)
            mean += loss.detach() / config.accumulate
        self.run.require_sound(self.report)
        largest = config.clip_grad or math.inf
        self._norm = accelerator.clip_grad_norm_(self.model.parameters(), largest)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return mean

    def log(self, step: int) -> bool:
        """Record what is known of the step that has ended, the loss as the mean over processes.

        Returns:
            Whether any of them was asked to stop, which all learn here.

        Raises:
            InputError: A loss since the last time was not finite.
        """
        loss = self.losses.check()
        both = torch.stack([loss, torch.full_like(loss, float(self.stop.asked))])
        mean, asked = self.accelerator.reduce(both, "mean").cpu().tolist()  # type: ignore[union-attr]
        norm = float(self._norm)  # type: ignore[arg-type]
        self.report.record(
            step,
            loss=mean,
            lr=float(self.rates[step - 1]),
            # Where fp16 overflows the step is left out, and its scale halved.
            **({"grad_norm": norm} if math.isfinite(norm) else {}),
            peak_memory_mb=peak_memory(self.accelerator.device) / 1e6,
            **self.run.measures(step),
        )
        return asked > 0

    def leave_if_asked(self, out: Path) -> None:
        """End the program with `EXIT_REQUEUE` if a stop was asked for.

        Args:
            out: The folder to go on with.
        """
        if self.stop.asked:
            self.accelerator.end_training()
        self.stop.leave_if_asked(out)

    def _next(self, batches: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
        """The next micro-batch, its samples and the time waited for them noted."""
        waited = time.perf_counter()
        batch = self.stop.next_or_none(batches)
        if batch is not None:
            self.run.batch = batch
            self.losses.saw(batch["number"])
            self.report.count(len(batch["number"]), time.perf_counter() - waited, batch["broken"])
        return batch


def part_size(config: PretrainConfig | FinetuneConfig, processes: int) -> int:
    """Clips that a process learns from at once.

    Raises:
        InputError: The batch cannot be split evenly.
    """
    parts = config.accumulate * processes
    if config.batch % parts:
        raise InputError(
            f"--batch {config.batch} cannot be split over {processes} processes x "
            f"{config.accumulate} parts; use a multiple of {parts}"
        )
    return config.batch // parts
