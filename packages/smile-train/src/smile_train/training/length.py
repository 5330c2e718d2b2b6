"""Steps that fit into the time that a run may take, and threads that make the most of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
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
THREADS_TRIAL_S = 1.0
"""Seconds for which they are with each number of threads that is tried."""
LONG_STEP_S = 1.0
"""Seconds of a step from which on all threads are taken untried: so much work keeps cores busy, and
a trial would take minutes. Ours."""
TRIAL_STEPS = 4
"""Steps that are timed at least, however slow the machine is."""
FEWER = 0.9
"""Share of a step's time that it may take with half the threads for these to be chosen. Ours: near
it, chance decides."""
SPARE = 1.1
"""What a run's step takes over the mean of a trial: its data, its records, other work."""
LEAST_STEPS = 100
"""Steps that a run has however slow the machine is: fewer learn nothing. Ours."""


@dataclass(frozen=True, kw_only=True)
class FittedRun:
    """A run that was cut to the time that it may take."""

    steps: int
    """All steps that were asked for, or whole tens of them."""
    cpu_threads: int
    """Threads of torch in this process."""
    said: str
    """How long they take, and why they are as many; a line each."""


def fit_run(
    config: PretrainConfig,
    model: PretrainModel,
    teacher: Teacher | None,
    accelerator: Accelerator,
    steps: int,
    *,
    threads_are_free: bool,
) -> FittedRun:
    """Cut a run to --minutes, alike in all processes.

    A copy of the model is trained on noise for a few seconds; the run's own weights and random
    numbers stay as they are. What is chosen is to be stored: clocks differ from run to run.

    Args:
        steps: Steps of the whole run.
        threads_are_free: Whether fewer threads may be taken where they are faster: of matrices as
            small as a small student's, and beside other work, since each thread waits for all.
    """
    assert config.minutes is not None
    step = open_trial(config, model, teacher, accelerator)
    said: list[str] = []
    threads = torch.get_num_threads()
    if threads_are_free and accelerator.num_processes == 1:
        threads, line = fit_threads(step, threads)
        said += [line] if line else []
    # The mean, not the fastest: on shared machines a run's steps take what they take on average.
    found: list[Any] = [SPARE * mean_seconds(step, TRIAL_S)]
    broadcast_object_list(found)
    seconds = found[0]
    if steps * seconds <= 60 * config.minutes:
        said.append(f"{steps} steps take about {spoken_time(steps * seconds)} on this machine")
        return FittedRun(steps=steps, cpu_threads=threads, said="\n".join(said))
    fitting = int(60 * config.minutes / seconds) // 10 * 10
    fitting = min(steps, max(LEAST_STEPS, fitting))
    said.append(
        f"{fitting} steps instead of {steps}, which would take "
        f"{spoken_time(steps * seconds)} on this machine: they take about "
        f"{spoken_time(fitting * seconds)}; --steps or --epochs asks for another number"
    )
    return FittedRun(steps=fitting, cpu_threads=threads, said="\n".join(said))


def fit_threads(step: Callable[[], None], most: int) -> tuple[int, str]:
    """Halve torch's threads as long as steps become faster by that; says what was chosen, if not
    the most."""
    step()
    begun = time.perf_counter()
    step()
    if time.perf_counter() - begun > LONG_STEP_S:
        return most, ""
    threads, seconds = most, mean_seconds(step, THREADS_TRIAL_S)
    first = seconds
    while threads > 1:
        torch.set_num_threads(threads // 2)
        fewer = mean_seconds(step, THREADS_TRIAL_S)
        if fewer > FEWER * seconds:
            break
        threads, seconds = threads // 2, fewer
    torch.set_num_threads(threads)
    if threads == most:
        return most, ""
    return threads, (
        f"{threads} thread{'s' * (threads > 1)} instead: a step takes {seconds / first:.0%} of the "
        f"time that it takes with {most}; --cpu-threads asks for another number"
    )


def mean_seconds(step: Callable[[], None], enough: float) -> float:
    """Mean time of steps, after one that is not counted.

    Args:
        enough: Seconds after which no more are made.
    """
    step()
    seconds: list[float] = []
    while len(seconds) < TRIAL_STEPS or sum(seconds) < enough:
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    return sum(seconds) / len(seconds)


def open_trial(
    config: PretrainConfig, model: PretrainModel, teacher: Teacher | None, accelerator: Accelerator
) -> Callable[[], None]:
    """Steps of a copy of the model on noise, as this process makes them."""
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

    return step
