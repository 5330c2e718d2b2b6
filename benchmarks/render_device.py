"""Clips a second of the device renderer, and how near to the memory's speed it comes.

    uv run python benchmarks/render_device.py [--device cuda] [--batch 64] [--bank DIR]

16 x 224 x 224 frames, 2 objects, the `paper` recipe. The floor is the time that the device takes
to copy as many bytes as a clip's frames are read and written, measured in the same run; the
alternative in the same run is the CPU renderer on one core.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from smile_motion import MotionRecipe, ObjectBank, TokenGrid, render
from smile_motion.bank import ProceduralSource, build
from smile_motion.masking import device as masks
from smile_motion.masking.masks import draw_keys
from smile_motion.renderer.device import DeviceRenderer
from smile_motion.seeding import Stream, keyed_generator

FRAMES, SIDE = 16, 224
PIXELS = FRAMES * SIDE * SIDE


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    device: str = "cuda"
    """Torch device."""
    kernel: str = "auto"
    """`triton`, `torch`, or what the device has."""
    batch: int = 64
    """Clips painted at once."""
    repeats: int = 20
    """Batches; the median counts."""
    bank: Path | None = None
    """Object bank; without one, procedural objects are made in a temporary folder."""
    objects: int = 500
    """How many."""


CALLS = 10
"""Calls between two readings of a device's clock, so that it is never kept waiting for Python."""


def median_seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a call, on the device's own clock where it has one."""
    for _ in range(2):
        run()
    times = []
    for _ in range(repeats):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(CALLS):
                run()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1e3 / CALLS)
        else:
            begun = time.perf_counter()
            run()
            times.append(time.perf_counter() - begun)
    return float(np.median(times))


@dataclass(frozen=True)
class Stage:
    """What a stage was measured to do."""

    clips_per_s: float
    share: float | None
    """Of the speed at which the device copies as many bytes; none where that bounds nothing."""


def measure(bank: ObjectBank, options: Options) -> dict[str, Stage]:
    """Measure and print; returns the stages by name."""
    renderer = DeviceRenderer(bank, options.device, kernel=options.kernel)  # type: ignore[arg-type]
    device, batch, grid = renderer.device, options.batch, TokenGrid()
    recipe = MotionRecipe.paper()
    plans = [
        recipe.plan(keyed_generator(0, Stream.MOTION, index=index), bank) for index in range(batch)
    ]
    still = torch.randint(0, 256, (batch, 1, SIDE, SIDE, 3), dtype=torch.uint8, device=device)
    moving = still.expand(-1, FRAMES, -1, -1, -1).contiguous()
    records = renderer.upload(renderer.records(plans))
    clips = renderer.paint(still, records)
    _ = clips.full_boxes
    coverage = clips.token_coverage(grid)
    rng = [keyed_generator(0, Stream.MASK, index=index) for index in range(batch)]
    keys = torch.from_numpy(draw_keys(rng, grid)).to(device)
    other = torch.empty_like(moving)

    def boxes() -> object:
        clips.__dict__.pop("_boxes", None)
        return clips.full_boxes

    def on_one_core() -> None:
        for plan, behind in zip(plans[:8], moving[:8].cpu().numpy(), strict=True):
            render(behind, plan, bank)

    def seconds(run: Callable[[], object]) -> float:
        return median_seconds(run, device, options.repeats) / batch

    copy = seconds(lambda: other.copy_(moving)) / (2 * 3 * PIXELS)  # per byte moved
    stages = {
        "pixels + ids, still background": (
            seconds(lambda: renderer.paint(still, records)),
            4 * PIXELS + 3 * SIDE * SIDE,
        ),
        "pixels + ids, video background": (
            seconds(lambda: renderer.paint(moving, records)),
            7 * PIXELS,
        ),
        "normalized to float16": (
            seconds(lambda: clips.normalized(dtype=torch.float16)),
            9 * PIXELS,
        ),
        "boxes": (seconds(boxes), 0),
        "token coverage": (seconds(lambda: clips.token_coverage(grid)), PIXELS),
        "trajectory masks": (
            seconds(lambda: masks.mask_trajectory(keys, grid, 0.8, coverage)),
            0,
        ),
    }
    begun = time.perf_counter()
    renderer.records(plans)
    host = (time.perf_counter() - begun) / batch
    on_one_core()
    begun = time.perf_counter()
    on_one_core()
    core = (time.perf_counter() - begun) / 8

    table = Table("stage", "clips/s", "us a clip", "share of floor", title=_name(device))
    found: dict[str, Stage] = {}
    for name, (taken, moved) in stages.items():
        share = moved * copy / taken if moved else None
        found[name] = Stage(1 / taken, share)
        shown = "" if share is None else f"{share:.0%}"
        table.add_row(name, f"{1 / taken:,.0f}", f"{1e6 * taken:.1f}", shown)
    table.add_section()
    table.add_row("records (host, one core)", f"{1 / host:,.0f}", f"{1e6 * host:.1f}")
    table.add_row("render (CPU, one core)", f"{1 / core:,.0f}", f"{1e6 * core:.1f}")
    for column in table.columns[1:]:
        column.justify = "right"
    console = Console()
    console.print(table)
    console.print(f"{renderer.kernel} kernel, batch {batch}; copying {1e-9 / copy:.0f} GB/s")
    ratio = core / stages["pixels + ids, still background"][0]
    console.print(f"pixels: {ratio:.2f} times the clips of the CPU renderer on one core")
    host_rate, core_rate = Stage(1 / host, None), Stage(1 / core, None)
    return found | {"records (host, one core)": host_rate, "render (CPU, one core)": core_rate}


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def main(options: Options) -> None:
    """Open or make a bank, and measure."""
    if options.bank is not None:
        measure(ObjectBank.open(options.bank), options)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(build(ProceduralSource(count=options.objects), Path(folder) / "bank"), options)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
