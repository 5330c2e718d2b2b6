"""Where a step of training spends the device's time, by kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gpu_figures import Figure, Place


def profile(place: Place) -> Iterator[Figure]:
    """Which kernels a step and a batch's rendering spend their time in."""
    import torch
    from smile_train.models.mae import PretrainModel
    from smile_train.teachers import ClipTeacher
    from smile_train.training.losses import masked_loss, teach
    from smile_train.training.optim import parameter_groups
    from torch.profiler import ProfilerActivity

    config = place.config()
    grid, device = config.grid, place.device
    teacher = ClipTeacher.random("ViT-B-16-quickgelu").to(device)
    model = PretrainModel(config.student_config, grid, teacher.width).to(device)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.05), fused=place.full)
    shape = (config.batch, grid.frames, grid.height, grid.width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    order = torch.rand(config.batch, config.masks_per_clip, grid.tokens, device=device).argsort(-1)
    hidden = config.reconstructed

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=place.full):
            features = teach(frames, teacher, config)
            loss = masked_loss(
                model, frames, order[..., hidden:], order[..., :hidden], features, config
            )
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    yield from _profiled(place, "step", step, 3 if place.full else 1, ProfilerActivity)


def _profiled(
    place: Place, name: str, step: Callable[[], object], count: int, activity: Any
) -> Iterator[Figure]:
    import torch

    for _ in range(3 if place.full else 1):
        step()
    kinds = [activity.CPU, *([activity.CUDA] if place.full else [])]
    with torch.profiler.profile(activities=kinds) as profiler:
        for _ in range(count):
            step()
        if place.full:
            torch.cuda.synchronize()
    key = "self_device_time_total" if place.full else "self_cpu_time_total"
    events = profiler.key_averages()
    path = place.out / f"profile-{name}.txt"
    path.write_text(
        events.table(sort_by=key, row_limit=40, max_name_column_width=90), encoding="utf-8"
    )
    kernels = [event for event in events if not place.full or "CUDA" in str(event.device_type)]
    total = sum(getattr(event, key) for event in kernels)
    kernels.sort(key=lambda event: -getattr(event, key))
    for event in kernels[:12]:
        share = getattr(event, key) / total
        yield Figure(f"{name}: {event.key[:70]}", 100 * share, "% of the time")
