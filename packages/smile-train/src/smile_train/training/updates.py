"""Optimiser steps, alike for every kind of run: the rate, the parts, the clipped gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.errors import InputError

from smile_train.config.finetune import FinetuneConfig
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.loader import ClipLoader, Samples
from smile_train.data.sampling import MicroBatches
from smile_train.training.flops import peak_memory
from smile_train.training.optim import warmup_cosine


class Updates:
    """Changes a model in steps, each of as many parts as --accumulate says.

    ::

        updates.begin(step)
        for part in range(config.accumulate):
            with updates.part(part):
                updates.add(loss)
        mean_loss = updates.end()
    """

    def __init__(
        self,
        config: PretrainConfig | FinetuneConfig,
        accelerator: Accelerator,
        model: torch.nn.Module,
        groups: list[dict[str, Any]],
        *,
        steps: int,
    ) -> None:
        """Put a model on its device, among its processes, with an optimiser.

        groups  of its parameters, each with `weight_decay` and `lr_scale`.
        steps   of the whole run.
        """
        self.config, self.accelerator, self.steps = config, accelerator, steps
        optimiser = torch.optim.AdamW(
            groups, lr=0.0, betas=config.betas, fused=accelerator.device.type == "cuda"
        )
        scale = config.batch / 256
        self.rates = warmup_cosine(
            config.base_lr * scale,
            config.min_lr * scale,
            steps,
            round(config.warmup_epochs * steps / max(config.epochs, 1)),
        )
        self.model, self.optimiser = accelerator.prepare(model, optimiser)
        if config.compile:
            accelerator.unwrap_model(self.model).compile(dynamic=False)
        self._step = 0
        self._loss = self._norm = torch.zeros(())

    def open_loader(self, clips: Samples, first_step: int) -> ClipLoader:
        """This process's share of the clips of the run, a batch for every part."""
        return ClipLoader(
            clips=clips,
            layout=MicroBatches(
                first_step=first_step,
                steps=self.steps,
                batch=self.config.batch,
                parts=self.config.accumulate,
                process=self.accelerator.process_index,
                processes=self.accelerator.num_processes,
            ),
            workers=self.config.workers,
            pin=self.accelerator.device.type == "cuda",
        )

    def begin(self, step: int) -> None:
        """Begin a step, counted from 0, at its rate."""
        self._step = step
        for group in self.optimiser.param_groups:
            group["lr"] = float(self.rates[step]) * group["lr_scale"]
        self._loss = torch.zeros((), device=self.accelerator.device)

    @contextmanager
    def part(self, number: int) -> Iterator[None]:
        """Forward and backward passes of a part; processes add their gradients in the last."""
        unfinished = number < self.config.accumulate - 1
        with self.accelerator.no_sync(self.model) if unfinished else nullcontext():
            yield

    def add(self, loss: torch.Tensor) -> None:
        """Add the gradient of a part's mean loss."""
        self.accelerator.backward(loss / self.config.accumulate)
        self._loss += loss.detach() / self.config.accumulate

    def end(self) -> torch.Tensor:
        """Change the weights; returns the step's mean loss, a scalar on the device."""
        largest = self.config.clip_grad or math.inf
        self._norm = self.accelerator.clip_grad_norm_(self.model.parameters(), largest)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return self._loss

    def measures(self) -> dict[str, float]:
        """Rate, norm of the gradient and memory of the step that has ended, by names in logs."""
        norm = float(self._norm)  # type: ignore[arg-type]
        return {
            "lr": float(self.rates[self._step]),
            # Where fp16 overflows the step is left out, and its scale halved.
            **({"grad_norm": norm} if math.isfinite(norm) else {}),
            "peak_memory_mb": peak_memory(self.accelerator.device) / 1e6,
        }

    def agree(self, loss: torch.Tensor, asked: bool) -> tuple[float, bool]:
        """Mean loss over processes, and whether any of them was asked to stop."""
        both = torch.stack([loss, torch.full_like(loss, float(asked))])
        mean, wish = self.accelerator.reduce(both, "mean").cpu().tolist()  # type: ignore[union-attr]
        return mean, wish > 0


def part_size(config: PretrainConfig | FinetuneConfig, processes: int) -> int:
    """Clips that a process learns from at once.

    Raises InputError when the batch cannot be split evenly.
    """
    parts = config.accumulate * processes
    if config.batch % parts:
        raise InputError(
            f"--batch {config.batch} cannot be split over {processes} processes x "
            f"{config.accumulate} parts; use a multiple of {parts}"
        )
    return config.batch // parts
