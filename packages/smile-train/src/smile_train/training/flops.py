"""Arithmetic of a step, and the share of the device's speed that a run uses."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from smile_motion.tokens import TokenGrid, masked_tokens
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from smile_train.config.machine import DTYPES
from smile_train.config.pretrain import PretrainConfig
from smile_train.models.layers import linear
from smile_train.models.mae import PretrainModel
from smile_train.teachers import Teacher

MATRIX_SIDE = {"cuda": 8192, "cpu": 1024}
"""Side of the square matrices whose product measures a device's speed."""


def count_flops(module: nn.Module, *arguments: Any) -> int:
    """Count the floating-point operations of a forward pass without computing it.

    The pass runs on meta tensors, which have shapes and no memory; the module stays as it is.

    Args:
        module: Module on any device, not compiled.
        arguments: Arguments of the call, tensors on the meta device.

    Returns:
        Operations of matrix products, convolutions and attention, a multiplication and an addition
        being two.
    """
    tensors = {
        name: tensor.to("meta")
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(module, tensors, arguments)
    return counter.get_total_flops()


def student_flops(model: PretrainModel, config: PretrainConfig) -> int:
    """Operations of a student's forward pass over one view of a clip."""
    grid = model.grid
    visible = grid.tokens - masked_tokens(grid, config.mask_ratio)
    numbers = [
        torch.empty(1, count, dtype=torch.int64, device="meta")
        for count in (visible, config.reconstructed)
    ]
    return count_flops(model, _meta_clip(grid), *numbers)


def teacher_flops(teacher: Teacher, grid: TokenGrid) -> int:
    """Operations of a teacher's forward pass over one clip."""
    return count_flops(teacher, _meta_clip(grid), grid)


def _meta_clip(grid: TokenGrid) -> torch.Tensor:
    """(1, T, H, W, 3) uint8 without memory."""
    shape = (1, grid.frames, grid.height, grid.width, 3)
    return torch.empty(shape, dtype=torch.uint8, device="meta")


def measure_matrix_rate(device: torch.device, dtype: torch.dtype, *, seconds: float = 0.2) -> float:
    """Measure the operations a second of a large matrix product: the best that a device does.

    Args:
        device: Device to measure.
        dtype: Type of the matrices.
        seconds: Length of the measurement.
    """
    side = MATRIX_SIDE.get(device.type, 2048)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or best == float("inf"):
        start = time.perf_counter()
        linear(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


@dataclass(kw_only=True)
class Utilization:
    """Share of the devices' measured speed that goes into the models' arithmetic.

    Counts the student's views forward and backward (twice the forward pass) and one pass of the
    teacher, not the activations that gradient checkpointing computes again.
    """

    flops: float
    """Operations of a step; 0 on CPUs."""
    rate: float
    """Operations a second that all devices together reach at best; 0 on CPUs, whose speed other
    programs share."""
    step: int | None = None
    """Step of the last measurement; none before the first."""
    time: float = 0.0
    """When that was, seconds."""

    @classmethod
    def of(
        cls,
        config: PretrainConfig,
        model: PretrainModel,
        teacher: Teacher | None,
        accelerator: Accelerator,
    ) -> Utilization:
        """Count a run's arithmetic and measure this process's device.

        Args:
            config: The run; its precision is settled.
            model: The student, not compiled.
            teacher: None for pixels.
            accelerator: The run's processes.
        """
        if accelerator.device.type == "cpu":
            return cls(flops=0, rate=0)
        assert config.precision != "auto"
        clip = 3 * config.masks_per_clip * student_flops(model, config)
        if teacher is not None:
            clip += teacher_flops(teacher, model.grid)
        rate = measure_matrix_rate(accelerator.device, DTYPES[config.precision])
        return cls(flops=clip * config.batch, rate=rate * accelerator.num_processes)

    def since(self, step: int) -> dict[str, float]:
        """Utilization since the last call, by its name in logs; nothing at the first, or without
        a rate."""
        now, before = time.perf_counter(), self.step
        elapsed, self.time, self.step = now - self.time, now, step
        if before is None or step <= before or not self.rate:
            return {}
        return {"utilization": (step - before) * self.flops / elapsed / self.rate}
