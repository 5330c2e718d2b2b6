"""Number of steps that fit into the time that a run may take."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from smile_motion.tokens import masked_tokens

from smile_train.config.pretrain import PretrainConfig
from smile_train.models.mae import PretrainModel
from smile_train.teachers import Teacher
from smile_train.training.losses import masked_loss, teach
from smile_train.training.metrics_logger import spoken_time
from smile_train.training.optim import parameter_groups
from smile_train.training.trainer import part_size

TRIAL_S = 5.0
"""Seconds for which steps are timed before a run, after one that is not."""
TRIAL_STEPS = 4
"""Steps that are timed at least, however slow the machine is."""
SPARE = 1.1
"""What a run's step takes over the mean of a trial: its data, its records, other work."""
LEAST_STEPS = 100
"""Steps that a run has however slow the machine is: fewer learn nothing. Ours."""


def fit_steps(
    config: PretrainConfig,
    model: PretrainModel,
    teacher: Teacher | None,
    accelerator: Accelerator,
    steps: int,
) -> tuple[int, str]:
    """Steps of a run that fit into --minutes, the same in all processes, and why as many.

    A copy of the model is trained on noise for a few seconds; the run's own weights and random
    numbers stay as they are. What is chosen is to be stored: clocks differ from run to run.

    Args:
        steps: Steps of the whole run.

    Returns:
        All of them, or whole tens of them; and a line that says how long they take.
    """
    assert config.minutes is not None
    found: list[Any] = [time_step(config, model, teacher, accelerator)]
    broadcast_object_list(found)
    seconds = found[0]
    if steps * seconds <= 60 * config.minutes:
        return steps, f"{steps} steps take about {spoken_time(steps * seconds)} on this machine"
    fitting = int(60 * config.minutes / seconds) // 10 * 10
    fitting = min(steps, max(LEAST_STEPS, fitting))
    return fitting, (
        f"{fitting} steps instead of {steps}, which would take "
        f"{spoken_time(steps * seconds)} on this machine: they take about "
        f"{spoken_time(fitting * seconds)}; --steps or --epochs asks for another number"
    )


def time_step(
    config: PretrainConfig, model: PretrainModel, teacher: Teacher | None, accelerator: Accelerator
) -> float:
    """Seconds that a step of this process takes: the mean of a trial, and some to spare.

    The mean, not the fastest: on shared machines a run's steps take what they take on average.
    """
    device = accelerator.device
    trained = copy.deepcopy(model).to(device)
    optimizer = torch.optim.AdamW(
        parameter_groups(trained, config.weight_decay), lr=1e-6, fused=True
    )
    generator = torch.Generator().manual_seed(config.seed)
    clips, grid = part_size(config, accelerator.num_processes), config.grid
    shape = (clips, grid.frames, grid.height, grid.width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
    order = torch.stack(
        [
            torch.randperm(grid.tokens, generator=generator)
            for _ in range(clips * config.masks_per_clip)
        ]
    )
    order = order.unflatten(0, (clips, config.masks_per_clip)).to(device)
    hidden = masked_tokens(grid, config.mask_ratio)
    visible, masked = order[..., hidden:], order[..., : config.reconstructed]
    if teacher is not None:
        teacher.to(device)
    motion = None
    if config.motion_dim:
        motion = torch.zeros((clips, grid.tokens, config.motion_dim), device=device)

    def step() -> None:
        for _ in range(config.accumulate):
            with accelerator.autocast():
                features = teach(frames, teacher, config)
                loss = masked_loss(
                    trained, frames, visible, masked, features, config, motion=motion
                )
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    step()
    seconds: list[float] = []
    while len(seconds) < TRIAL_STEPS or sum(seconds) < TRIAL_S:
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    return SPARE * sum(seconds) / len(seconds)
