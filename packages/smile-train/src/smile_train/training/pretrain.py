"""Pre-training: stages, clips, student, teacher, loss, pictures; `trainer` has the loop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError

from smile_train.checkpoints.files import newest_checkpoint, stored_settings
from smile_train.checkpoints.open import open_checkpoint, start_from
from smile_train.config.pretrain import PretrainConfig, plan_stages
from smile_train.data.device_clips import PlanRenderer, open_clips, settle_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.moving_clips import TrainingClips
from smile_train.models.mae import PretrainModel
from smile_train.teachers import Teacher, open_teacher
from smile_train.training.accelerator import open_run
from smile_train.training.flops import Utilization
from smile_train.training.length import fit_run
from smile_train.training.losses import masked_loss, teach
from smile_train.training.metrics_logger import MetricsLogger
from smile_train.training.monitor import Watcher
from smile_train.training.optim import parameter_groups
from smile_train.training.state import describe
from smile_train.training.trainer import Trainer, TrainingRun, part_size

BROKEN_SHARE = 0.1
"""Training stops when more of the files tried than this cannot be used. Ours."""
BROKEN_MINIMUM = 20
"""Samples seen before that share is judged. Ours."""


def pretrain(config: PretrainConfig, out: Path) -> Path:
    """Run, or continue, a pre-training, in as many stages as its strategy has.

    Args:
        out: The run's folder: config.json, log.jsonl, checkpoints/, the tracker's files, pictures;
            where there are two stages, each has a folder in it.

    Returns:
        The last checkpoint's folder.

    Raises:
        InputError: The configuration does not fit its files, the machine, or the run that is there;
            when too many files are broken; when the disk is full; and when the loss is no longer
            finite.
    """
    config.require_moving_objects()
    begun = stored_settings(out, out / "stage-1") if config.resume else {}
    config, accelerator, machine = open_run(config, begun)
    accelerator.print(machine.said, file=sys.stderr)
    checkpoint = out
    for stage in plan_stages(config, out):
        begun = newest_checkpoint(stage.out / "checkpoints")[0] is not None
        resume = config.resume and (begun or stage.follows is None)
        settings = replace(stage.config, init=stage.follows or config.init, resume=resume)
        if resume and (stored := stored_settings(stage.out)):
            # As long as it was to be when it began, however fast this machine is.
            steps = stored.get("steps") if config.minutes is not None else None
            settings = replace(settings, minutes=None, steps=settings.steps or steps)
        checkpoint, finished = train_stage(
            settings, stage.out, accelerator, threads_are_free=machine.threads_are_free
        )
        if not finished:
            break
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return checkpoint


def train_stage(
    config: PretrainConfig, out: Path, accelerator: Accelerator, *, threads_are_free: bool
) -> tuple[Path, bool]:
    """Train from the first step, or from the newest checkpoint, to the last; see `pretrain`.

    Args:
        threads_are_free: See `fit_run`.

    Returns:
        The last checkpoint's folder, and whether all steps are done.
    """
    trainer = Trainer(PretrainRun(config, out, accelerator, threads_are_free=threads_are_free))
    step = trainer.train()
    trainer.leave_if_asked(config.out or out)
    return out / "checkpoints" / f"step_{step:08d}", step == trainer.run.steps


class PretrainRun(TrainingRun[PretrainConfig, TrainingClips]):
    """Reconstructs masked tokens of moving-object clips: their pixels, or a teacher's features."""

    inputs = {"bank_sha256": "the bank's objects have changed"}  # noqa: RUF012

    def __init__(
        self,
        config: PretrainConfig,
        out: Path,
        accelerator: Accelerator,
        *,
        threads_are_free: bool = False,
    ) -> None:
        """Open the clips, build the models, and settle the length; nothing is written yet.

        Args:
            threads_are_free: See `fit_run`.

        Raises:
            InputError: As `pretrain` does.
        """
        torch.manual_seed(config.seed)
        self.out, self.accelerator = out, accelerator
        begun = stored_settings(out).get("decoder") if config.resume else None
        self.clips, line = settle_clips(open_clips(config), begun)
        config = self.clips.config
        if line:
            accelerator.print(line, file=sys.stderr)
        part_size(config, accelerator.num_processes)
        self.model, self.teacher, self.said = build_models(config)
        steps = total_steps(config, self.clips)
        if config.minutes is not None:
            fitted = fit_run(
                *(config, self.model, self.teacher, accelerator, steps),
                threads_are_free=threads_are_free,
            )
            accelerator.print(fitted.said, file=sys.stderr)
            config = replace(config, cpu_threads=fitted.cpu_threads)
            if fitted.steps < steps:
                config, steps = replace(config, steps=fitted.steps), fitted.steps
        self.config, self.steps, self.views = config, steps, config.masks_per_clip
        self.title = f"{steps} steps of {config.batch} clips x {config.masks_per_clip} masks"
        self.utilization = Utilization.of(config, self.model, self.teacher, accelerator)
        self._parts: dict[str, torch.Tensor] = {}
        self._unknown: torch.Tensor | None = None
        self._said_unknown = False
        self.watcher = Watcher.open(config, out, self.model, self.teacher)
        if self.teacher is not None:
            self.teacher.to(accelerator.device)
            if config.compile:
                self.teacher.compile(dynamic=False)

    def describe(self) -> dict[str, Any]:
        """Everything that the run depends on, and what its model is built from, as JSON values."""
        bank_sha256 = self.clips.maker.bank.card["metadata_sha256"]
        return describe(self.config, self.model, steps=self.steps, bank_sha256=bank_sha256)

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimizer."""
        return parameter_groups(self.model, self.config.weight_decay)

    def batches(self, loader: ClipLoader) -> Iterator[dict[str, Any]]:
        """Clips from the workers; with --render device painted here from their plans."""
        batches: Iterator[dict[str, Any]] = iter(loader)
        if self.config.render == "device":
            bank, device = self.clips.maker.bank, self.accelerator.device
            batches = map(PlanRenderer.open(self.config, bank, device), batches)
        return batches

    def loss(self, model: torch.nn.Module, batch: dict[str, Any]) -> torch.Tensor:
        """Mean loss of the masked tokens."""
        device = self.accelerator.device
        frames, visible, masked = (
            batch[name].to(device, non_blocking=True) for name in ("frames", "visible", "masked")
        )
        with self.accelerator.autocast():
            features = teach(frames, self.teacher, self.config)
        motion = batch.get("motion")
        return masked_loss(
            *(model, frames, visible, masked, features, self.config),
            motion=None if motion is None else motion.to(device, non_blocking=True),
            note=self._note_parts,
        )

    def _note_parts(self, parts: dict[str, torch.Tensor]) -> None:
        """Keep what is said of the loss when the step is logged, without waiting for the device."""
        self._parts = parts
        known = parts.pop("motion_known", None)
        if known is not None:
            self._unknown = ~known if self._unknown is None else self._unknown | ~known

    def require_sound(self, report: MetricsLogger) -> None:
        """Raise InputError where more than `BROKEN_SHARE` of the files tried are broken."""
        if report.samples >= BROKEN_MINIMUM / self.accelerator.num_processes:
            tried = report.samples + report.broken
            if report.broken / tried > BROKEN_SHARE:
                raise InputError(
                    f"{report.broken} of the {tried} files tried cannot be used, over "
                    f"{BROKEN_SHARE:.0%} (the last: {report.last_broken}); mend the list"
                )

    def measures(self, step: int) -> dict[str, float]:
        """The share of the devices' speed that is used, and parts of the loss in this process."""
        measured = self.utilization.since(step)
        if self._unknown is not None and not self._said_unknown and bool(self._unknown):
            self._said_unknown = True
            self.accelerator.print(
                "a batch had no masked token whose motion is known: its loss of motion is 0; this "
                "is said once",
                file=sys.stderr,
            )
        return measured | {name: float(value) for name, value in self._parts.items()}

    def watch(self, report: MetricsLogger, step: int, *, ending: bool) -> None:
        """Draw pictures and probe the student, where that is due; at the end `finish` does."""
        if not ending:
            self._watch(report, step, ending=False)

    def finish(self, report: MetricsLogger, step: int) -> None:
        """Draw the last pictures; where all steps are done, probe the student."""
        self._watch(report, step, ending=True)

    def owes(self, report: MetricsLogger, step: int, *, ending: bool) -> bool:
        """Whether the pictures or measures of a step were not made any more."""
        return self.watcher.owes(report, step, ending=ending)

    def _watch(self, report: MetricsLogger, step: int, *, ending: bool) -> None:
        self.watcher.batch, last = self.batch, ending and step == self.steps
        self.watcher.watch(self.accelerator, report, step, ending=ending, last=last)


def total_steps(config: PretrainConfig, clips: TrainingClips) -> int:
    """Optimizer steps of a stage: --steps, or the whole batches in --epochs."""
    if config.steps is not None:
        return config.steps
    return max(1, config.epochs * clips.order.length // config.batch)


def student_options(config: PretrainConfig) -> dict[str, Any]:
    """What a run's student predicts besides the target of masked tokens, as `PretrainModel` takes
    it."""
    return {
        "motion_dim": config.motion_dim,
        "motion_depth": config.motion_depth,
        "predict_visible": config.visible_weight > 0,
        "target_layers": config.target_layers,
    }


def choose_layers(teacher: Teacher, config: PretrainConfig) -> None:
    """Have a teacher teach the layers at the same shares of its depth as --target-layers.

    Raises:
        InputError: Two fall on one of its blocks.
    """
    if config.target_layers:
        depth = config.student_config.depth
        teacher.choose_layers([layer / depth for layer in config.target_layers])


def build_models(config: PretrainConfig) -> tuple[PretrainModel, Teacher | None, list[str]]:
    """Build a run's student, and open its teacher if it has one.

    Returns:
        Also a line for each thing that is not as in the checkpoint of --init.

    Raises:
        InputError: A file is missing, or models and clips do not fit each other.
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
        choose_layers(teacher, config)
    target_dim = 3 * grid.token_pixels if teacher is None else teacher.target_dim
    trained, source, opened = None, None, None
    if config.init is not None:
        source, opened = open_checkpoint(config.init)
        if source.config != config.student_config:
            raise InputError(
                f"{opened}: another student ({source.config}), --student {config.student} is "
                f"{config.student_config}; choose the one that it is of"
            )
        trained = source.trained
    model = PretrainModel(
        config.student_config,
        grid,
        target_dim,
        trained=trained,
        **student_options(config),
    )
    said = [] if source is None or opened is None else start_from(source, opened, model)
    if config.gradient_checkpointing:
        model.save_memory()
    return model, teacher, said
