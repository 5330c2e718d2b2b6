"""Clips a second that reach a training process, and where the time goes.

    uv run python benchmarks/loader.py [--batch 32] [--rounds 5] [--bank DIR]

16 x 224 x 224 noise clips with trajectory masks. `ClipLoader` stands beside the plain way, a data
set of items and a collate function that stacks them, in the same run. Nothing is done with the
batches; a training step takes its own share of the cores.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from processor import describe_processor
from rich.console import Console
from rich.table import Table
from smile_motion import Truth, render
from smile_motion.bank import ProceduralSource, build
from smile_motion.masking.masks import mask_trajectory
from smile_motion.seeding import Stream, keyed_generator
from smile_train.config.pretrain import PretrainConfig
from smile_train.data.device_clips import open_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.moving_clips import TrainingClips
from smile_train.data.sampling import MicroBatches
from torch.utils.data import DataLoader


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    batch: int = 32
    """Clips in a batch."""
    rounds: int = 5
    """Rounds to take the mean and the median of."""
    batches: int = 20
    """Batches in a round."""
    workers: tuple[int, ...] = (0, 1, 2)
    """Numbers of workers to try."""
    bank: Path | None = None
    """Object bank; without one, procedural objects are made in a temporary folder."""
    objects: int = 500
    """How many."""


@dataclass(frozen=True)
class Measured:
    """One way of loading."""

    rates: list[float]
    """Clips a second in each round."""
    private_mb: list[float] = field(default_factory=list)
    """Memory that each worker has for itself."""

    def row(self) -> tuple[str, str]:
        """Mean and median clips a second."""
        return f"{np.mean(self.rates):.0f}", f"{np.median(self.rates):.0f}"


Loading = Callable[[TrainingClips, MicroBatches, int], Iterable[dict[str, Any]]]


def in_rings(clips: TrainingClips, layout: MicroBatches, workers: int) -> Iterable[dict[str, Any]]:
    """Load with workers that render into shared memory."""
    return ClipLoader(clips=clips, layout=layout, workers=workers)


def item_by_item(
    clips: TrainingClips, layout: MicroBatches, workers: int
) -> Iterable[dict[str, Any]]:
    """Load the plain way: an item a sample, stacked."""
    return DataLoader(
        clips,  # type: ignore[arg-type]
        batch_sampler=layout,
        num_workers=workers,
        collate_fn=stacked,
        multiprocessing_context="forkserver" if workers else None,
    )


def stacked(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples into a batch."""
    return {
        name: torch.stack([sample[name] for sample in samples])
        for name in ("frames", "visible", "masked")
    }


def measure(clips: TrainingClips, options: Options, loading: Loading, workers: int) -> Measured:
    """Take the rate of every round after one to warm up, and the workers' memory at the end."""
    layout = MicroBatches(
        first_step=0, steps=(options.rounds + 1) * options.batches + 10, batch=options.batch
    )
    batches = iter(loading(clips, layout, workers))
    for _ in range(options.batches):
        next(batches)["frames"].view(-1)[::4096].sum()  # A page counts as shared once it is read.
    rates = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        for _ in range(options.batches):
            next(batches)
        rates.append(options.batches * options.batch / (time.perf_counter() - start))
    private = [private_mb(worker.pid) for worker in multiprocessing.active_children()]
    assert next(batches, None) is not None, "workers must be there to be measured"
    return Measured(rates, private)


def private_mb(pid: int | None) -> float:
    """Memory of a process that no other has mapped, MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1e3


def stages(clips: TrainingClips, count: int) -> dict[str, list[float]]:
    """Milliseconds of every stage of making clips in this process, in a batch's memory."""
    maker, config = clips.maker, clips.config
    batch = clips.new_batch(config.batch)
    frames = batch["frames"].numpy()
    ids = np.empty(frames.shape[1:4], np.uint8)
    spent: dict[str, list[float]] = {}
    clips.fill(range(config.batch), batch)

    def timed(name: str, make: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = make()
        spent.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
        return made

    for index in range(count):
        out = frames[index % len(frames)]
        plan = timed("motion plan", lambda i=index: maker.plan(i))
        rng = keyed_generator(0, Stream.BACKGROUND, index=index)
        timed(
            "noise, in every frame",
            lambda r=rng, i=index, o=out: maker.background.draw(
                r, index=i, frames=maker.frames, size=maker.size, out=o
            ),
        )
        timed("pixels", lambda p=plan, o=out: render(o, p, maker.bank, ids=ids))
        truth = Truth(plan, maker.bank, ids=ids)
        coverage = timed("masks: token coverage", lambda t=truth: t.token_coverage(config.grid))
        rng = keyed_generator(0, Stream.MASK, index=index)
        timed(
            "masks: drawing",
            lambda r=rng, c=coverage: mask_trajectory(r, config.grid, config.mask_ratio, c),
        )
    for start in range(0, count, config.batch):
        numbers = range(start, start + config.batch)
        timed("whole batch", lambda n=numbers: clips.fill(n, batch))
    spent["whole batch"] = [duration / config.batch for duration in spent["whole batch"]]
    return spent


def print_rates(clips: TrainingClips, options: Options, console: Console) -> dict[int, Measured]:
    """Measure and print clips a second; returns those of `ClipLoader` by number of workers."""
    table = Table(
        "workers", "rings: mean", "median", "items: mean", "median", "ratio", "private MB each"
    )
    for column in table.columns:
        column.justify = "right"
    ours = {}
    for workers in options.workers:
        ours[workers] = measure(clips, options, in_rings, workers)
        plain = measure(clips, options, item_by_item, workers)
        private = ", ".join(f"{size:.0f}" for size in ours[workers].private_mb)
        ratio = np.median(ours[workers].rates) / np.median(plain.rates)
        row = *ours[workers].row(), *plain.row(), f"{ratio:.1f}", private
        table.add_row(str(workers), *row)
    table.title = f"clips a second, batches of {options.batch}"
    console.print(table)
    return ours


def print_stages(clips: TrainingClips, ours: dict[int, Measured], console: Console) -> None:
    """Print where the time of a clip goes."""
    spent = stages(clips, 10 * clips.config.batch)
    whole = float(np.mean(spent.pop("whole batch")))
    times = {name: float(np.mean(durations)) for name, durations in spent.items()}
    times["batching: the rest of filling"] = whole - sum(times.values())
    if 1 in ours:
        times["transfer: the rest with 1 worker"] = 1e3 / float(np.mean(ours[1].rates)) - whole
    table = Table("stage", "ms a clip", "share", title="where the time goes (mean)")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, duration in times.items():
        table.add_row(name, f"{duration:.3f}", f"{duration / sum(times.values()):.1%}")
    console.print(table)


def run(bank: Path, options: Options) -> None:
    """Measure and print everything for one bank."""
    console = Console()
    console.print(describe_processor(), soft_wrap=True)
    clips = open_clips(PretrainConfig(background="noise", bank=bank, batch=options.batch))
    ours = print_rates(clips, options, console)
    print_stages(clips, ours, console)


def main(options: Options) -> None:
    """Measure and print, with a bank that is there or a temporary one."""
    torch.set_num_threads(1)
    if options.bank is not None:
        run(options.bank, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        bank = build(ProceduralSource(count=options.objects), Path(folder) / "bank")
        run(bank.path, options)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
