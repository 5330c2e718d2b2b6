"""Where the time of a step goes: each part by itself, then all together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from smile_motion.truth.instances import Truth

from smile_train.config.machine import DTYPES
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.device_clips import PlanRenderer, open_clips, settle_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.moving_clips import TrainingClips, clip_motion
from smile_train.data.sampling import MicroBatches
from smile_train.models.mae import PretrainModel
from smile_train.teachers import Teacher
from smile_train.training.flops import measure_matrix_rate, student_flops, teacher_flops
from smile_train.training.losses import masked_loss, teach
from smile_train.training.optim import parameter_groups
from smile_train.training.pretrain import build_models, choose_layers, student_options

TRUTH = "motion truth"
"""What workers take for the motion target, within `data`: processor time of one of them."""
PARTS = ("data", "to device", "teacher", "student forward", "student backward", "optimizer")
"""Parts of a step, in order."""


@dataclass(kw_only=True)
class Timings:
    """Seconds of every part of each step, and of whole steps."""

    batch: int
    """Clips in a step."""
    device: torch.device
    """Waited for at the end of every part."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of each step, by part; `together` for whole steps, in which parts overlap."""
    flops: dict[str, float] = field(default_factory=dict)
    """Floating-point operations of a step, by part that has any."""
    matrix_rate: float = 0.0
    """Operations a second of a large product of matrices on the device."""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the body as one part."""
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)

    def median(self, name: str) -> float:
        """Median seconds of a part."""
        ordered = sorted(self.seconds[name])
        return ordered[len(ordered) // 2]

    def utilization(self, name: str) -> float | None:
        """Share of the matrix rate that a part reaches; none where it has no arithmetic."""
        flops = sum(self.flops.values()) if name == "together" else self.flops.get(name)
        return flops / self.median(name) / self.matrix_rate if flops else None


def measure(
    config: PretrainConfig,
    *,
    repeats: int,
    device: torch.device,
    teacher: Teacher | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Timings:
    """Time the parts of a run's steps on one device, then whole steps.

    Args:
        config: The run; its precision is settled.
        teacher: Replaces the teacher that the configuration names.
        on_step: Callback after each timed step.
    """
    config.require_moving_objects()
    clips, said = settle_clips(open_clips(config))
    if said:
        print(said, file=sys.stderr)
    if teacher is None:
        model, teacher, _ = build_models(config)
    else:
        choose_layers(teacher, config)
        model = PretrainModel(
            config.student_config, config.grid, teacher.target_dim, **student_options(config)
        )
    model.to(device)
    if teacher is not None:
        teacher.to(device)
    assert config.precision != "auto"
    dtype = DTYPES[config.precision]
    timings = Timings(batch=config.batch, device=device)
    timings.matrix_rate = measure_matrix_rate(device, dtype)
    if config.motion_by_workers:
        timings.seconds[TRUTH] = time_truth(config, clips, repeats)
    forward = config.batch * config.masks_per_clip * student_flops(model, config)
    timings.flops = {"student forward": forward, "student backward": 2 * forward}
    if teacher is not None:
        timings.flops["teacher"] = config.batch * teacher_flops(teacher, config.grid)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), fused=True)
    if config.compile:
        model.compile(dynamic=False)
        if teacher is not None:
            teacher.compile(dynamic=False)

    loader = ClipLoader(
        clips=clips,
        layout=MicroBatches(first_step=0, steps=2 * repeats + 3, batch=config.batch),
        workers=config.workers,
        pin=device.type == "cuda",
        clips_per_video=clips.order.clips_per_video,
    )
    batches: Iterator[dict[str, Any]] = iter(loader)
    if config.render == "device":
        batches = map(PlanRenderer.open(config, clips.maker.bank, device), batches)

    def step(part: Callable[[str], Any]) -> None:
        with part("data"):
            batch = next(batches)
        with part("to device"):
            frames, visible, masked = (
                batch[name].to(device, non_blocking=True)
                for name in ("frames", "visible", "masked")
            )
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            with part("teacher"):
                features = teach(frames, teacher, config)
            with part("student forward"):
                motion = batch["motion"].to(device) if config.motion_dim else None
                loss = masked_loss(model, frames, visible, masked, features, config, motion=motion)
        with part("student backward"):
            loss.backward()
        with part("optimizer"):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    step(Timings(batch=1, device=device).part)  # Caches, pages, compilation.
    for _ in range(repeats):
        step(timings.part)
        on_step()
    for _ in range(repeats):
        with timings.part("together"):
            step(_untimed)
        on_step()
    if teacher is None:
        del timings.seconds["teacher"]
    return timings


def time_truth(config: PretrainConfig, clips: TrainingClips, repeats: int) -> list[float]:
    """Processor seconds that the motion of the tokens of a batch takes, `repeats` times; where a
    device renders, with the id maps that it is read from."""
    epoch, index = clips.order.locate(0)
    clip = clips.maker_of(epoch, index).make(index, epoch)
    out = None
    if config.motion_dim:
        out = np.empty((config.grid.tokens, config.motion_dim), np.float32)

    def find() -> None:
        painted = Truth(clip.plan, clips.maker.bank) if config.render == "device" else clip.truth
        clip_motion(config, painted, clip.origin, out=out)

    find()  # Compilation; tracks are read.
    seconds = []
    for _ in range(repeats):
        begun = time.process_time()
        for _ in range(config.batch):
            find()
        seconds.append(time.process_time() - begun)
    return seconds


@contextmanager
def _untimed(_: str) -> Iterator[None]:
    yield


def advise(timings: Timings, config: PretrainConfig) -> str:
    """Name what a run waits for, and what to do about it."""
    compute = sum(timings.median(name) for name in PARTS[1:] if name in timings.seconds)
    whole = timings.median("together")
    student = timings.median("student forward") + timings.median("student backward")
    if whole > 1.15 * compute:
        more = "--masks-per-clip, which learn more from each clip"
        if config.render == "cpu" and timings.device.type == "cuda":
            more = f"--render device, or {more}"
        return (
            f"data: steps take {whole / compute:.1f} times as long as their arithmetic; "
            f"raise --workers (now {config.workers}) or {more}"
        )
    if "teacher" in timings.seconds and timings.median("teacher") > student:
        return (
            f"the teacher: {timings.median('teacher') / student:.1f} times as long as the student; "
            f"raise --masks-per-clip (now {config.masks_per_clip}): it runs once for all masks"
        )
    if timings.median("optimizer") > 0.05 * whole:
        return "the optimizer: more than 5 % of a step; raise --batch"
    slow = timings.utilization("together") or 0
    if slow < 0.35 and not config.compile and timings.device.type == "cuda":
        return f"arithmetic at {slow:.0%} of the matrix rate; try --compile or a larger --batch"
    return f"arithmetic, at {slow:.0%} of the matrix rate"
