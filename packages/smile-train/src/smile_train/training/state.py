"""State of a run in its checkpoints: written, and restored by --resume."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, write_atomically
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from smile_train.checkpoints.files import load_checkpoint, newest_checkpoint, save_checkpoint
from smile_train.config.pretrain import PretrainConfig
from smile_train.config.run import RunOptions
from smile_train.config.settings import into_sections
from smile_train.models.mae import PretrainModel
from smile_train.training.metrics_logger import MetricsLogger

SPARE_SHARE = 1.1
"""Room asked for before a checkpoint is written, over what it takes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunState:
    """What a run continues from: weights, optimizer, random numbers, step."""

    config: RunOptions
    """The run."""
    described: dict[str, Any]
    """Content of `config.json`, by name, without sections."""
    inputs: Mapping[str, str]
    """Entries of `described` that tell inputs apart, and what to say where one has changed."""
    out: Path
    """Folder of the stage."""
    accelerator: Accelerator
    """The processes."""
    model: torch.nn.Module
    """The student, as prepared by the accelerator: whole, or a shard of it."""
    optimizer: torch.optim.Optimizer
    """The optimizer, prepared too."""

    def keep(self, step: int, more: Mapping[str, Any] | None = None) -> Path:
        """Write a checkpoint of the step that has just ended; all processes call this.

        Args:
            more: Further state of the run; tensors and plain values only.

        Raises:
            InputError: The disk has no room for it.
        """
        whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights: Any = get_model_state_dict(self.model, options=whole)
        optimizer = get_optimizer_state_dict(self.model, _inner(self.optimizer), options=whole)
        folder = self.out / "checkpoints"
        if self.accelerator.is_main_process:
            require_room(folder, 3 * sum(value.nbytes for value in weights.values()))
            save_checkpoint(
                folder,
                step,
                weights=weights,
                training={
                    "step": step,
                    "optimiser": optimizer,  # As checkpoints of every release have it.
                    "generator": torch.get_rng_state(),
                    "scaler": self.accelerator.scaler and self.accelerator.scaler.state_dict(),
                    **(more or {}),
                },
                config=self.described,
                keep=self.config.keep,
            )
        return folder / f"step_{step:08d}"

    def resume(self, report: MetricsLogger) -> dict[str, Any]:
        """Put everything back as the newest sound checkpoint has it.

        Returns:
            Its `step`, and what else was kept with it; nothing, and says so, where there is no
            sound checkpoint: the run starts anew then.

        Raises:
            InputError: It is of another configuration.
        """
        path, passed = newest_checkpoint(self.out / "checkpoints")
        for line in passed:
            report.say(line)
        if path is None:
            report.say(f"{self.out}: no sound checkpoint to resume from; starting anew")
            return {}
        weights: Any
        weights, training, stored = load_checkpoint(path)
        changed = [
            said for name, said in self.inputs.items() if stored.get(name) != self.described[name]
        ]
        self.config.require_same(stored, path, changed)
        whole = StateDictOptions(full_state_dict=True)
        set_model_state_dict(self.model, weights, options=whole)
        set_optimizer_state_dict(
            self.model, _inner(self.optimizer), training["optimiser"], options=whole
        )
        _restore_tuples(_inner(self.optimizer))
        torch.set_rng_state(training["generator"])
        if self.accelerator.scaler is not None and training.get("scaler"):
            self.accelerator.scaler.load_state_dict(training["scaler"])
        report.restore(training["step"])
        report.say(f"resumed from {path}")
        return training

    def begin(self, report: MetricsLogger) -> None:
        """Write the configuration where the run is; drop what one killed before its first
        checkpoint has logged."""
        report.restore(0)
        if self.accelerator.is_main_process:
            write_atomically(self.out / "config.json", dump_json(into_sections(self.described)))


def _restore_tuples(optimizer: torch.optim.Optimizer) -> None:
    """Make settings tuples again, such as Adam's betas, which `set_optimizer_state_dict` leaves as
    lists: later checkpoints would have other bytes than those of a run that never stopped."""
    for group in optimizer.param_groups:
        for name, value in optimizer.defaults.items():
            if isinstance(value, tuple):
                group[name] = tuple(group[name])


def describe(
    config: PretrainConfig, model: PretrainModel, *, steps: int, bank_sha256: str
) -> dict[str, Any]:
    """Everything that a run depends on, and what its model is built from, as JSON values."""
    return {
        **config.to_json(),
        "student_config": asdict(model.config),
        "grid": asdict(model.grid),
        "trained_grid": asdict(model.trained),
        "target_dim": model.target_dim,
        "steps_total": steps,
        "bank_sha256": bank_sha256,
    }


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether processes hold a part of a model's weights each (FSDP2)."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def require_room(folder: Path, needed: int) -> None:
    """Raise InputError when a folder's disk lacks the bytes of the next checkpoint."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < SPARE_SHARE * needed:
        raise InputError(
            f"{folder}: {free / 1e6:.0f} MB free, the next checkpoint takes {needed / 1e6:.0f} MB; "
            f"free some space and go on with --resume"
        )


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """The optimizer that Accelerate has wrapped."""
    return getattr(optimizer, "optimizer", optimizer)
