"""Arithmetic of a step, and how much of the device's speed a run uses."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from smile_motion.tokens import TokenGrid, masked_tokens

from smile_train.config.machine import DTYPES
from smile_train.config.pretrain import PretrainConfig
from smile_train.models.config import StudentConfig
from smile_train.models.layers import linear
from smile_train.models.mae import PretrainModel
from smile_train.teachers import Teacher

MATRIX_SIDE = {"cuda": 8192, "cpu": 1024}
"""Side of the matrices whose product tells a device's speed."""


def transformer_flops(tokens: int, width: int, depth: int, mlp_ratio: float = 4) -> float:
    """Floating-point operations of one forward pass, a multiplication and addition being two.

    Linear layers take 2 (4 + 2 r) N d^2 a block, attention 4 N^2 d.
    """
    linear = 2 * tokens * width * width * (4 + 2 * mlp_ratio)
    return depth * (linear + 4 * tokens * tokens * width)


def student_flops(
    config: StudentConfig, grid: TokenGrid, *, visible: int, predicted: int, target_dim: int
) -> float:
    """Operations of a student's forward pass over one view of a clip."""
    encoder = transformer_flops(visible, config.width, config.depth, config.mlp_ratio)
    encoder += 2 * visible * 3 * grid.token_pixels * config.width
    decoder = transformer_flops(
        visible + predicted, config.decoder_width, config.decoder_depth, config.mlp_ratio
    )
    decoder += 2 * visible * config.width * config.decoder_width
    return encoder + decoder + 2 * predicted * config.decoder_width * target_dim


def teacher_flops(teacher: Teacher, grid: TokenGrid) -> float:
    """Operations of a teacher's pass over one clip: a ViT with MLPs of four times its width."""
    tokens = teacher.rows_columns[0] * teacher.rows_columns[1] + 1
    return grid.slices * transformer_flops(tokens, teacher.width, teacher.depth)


def measure_matrix_rate(device: torch.device, dtype: torch.dtype, *, seconds: float = 0.2) -> float:
    """Operations a second of a large product of matrices: what the device can do at best."""
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
class Utilisation:
    """Share of the devices' measured speed that goes into the models' arithmetic.

    Counted are the student's views forward and backward and one pass of the teacher; activations
    that gradient checkpointing computes again are not.
    """

    flops: float
    """Operations of a step."""
    rate: float
    """Operations a second that all devices could do at best; 0 on CPUs, which others use too, so
    that there is no such number."""
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
    ) -> Utilisation:
        """Count a run's arithmetic and measure this process's device."""
        grid = model.grid
        view = student_flops(
            model.config,
            grid,
            visible=grid.tokens - masked_tokens(grid, config.mask_ratio),
            predicted=config.reconstructed,
            target_dim=model.target_dim,
        )
        clip = 3 * config.masks_per_clip * view
        clip += 0 if teacher is None else teacher_flops(teacher, grid)
        assert config.precision != "auto"
        rate = 0.0
        if accelerator.device.type != "cpu":
            rate = measure_matrix_rate(accelerator.device, DTYPES[config.precision])
        return cls(flops=clip * config.batch, rate=rate * accelerator.num_processes)

    def since(self, step: int) -> dict[str, float]:
        """Utilisation since the last call, by its name in logs; nothing at the first, or without
        a rate."""
        now, before = time.perf_counter(), self.step
        elapsed, self.time, self.step = now - self.time, now, step
        if before is None or step <= before or not self.rate:
            return {}
        return {"utilisation": (step - before) * self.flops / elapsed / self.rate}


def peak_memory(device: torch.device) -> int:
    """Most bytes held at once so far: on the device, or by this process without one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
