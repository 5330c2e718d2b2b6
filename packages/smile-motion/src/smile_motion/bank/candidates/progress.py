"""Progress of a build from candidates: bars on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from smile_motion.bank.candidates.pipeline import Progress
from smile_motion.runtime.progress import OnProgress

LINE_EVERY_S = 60.0
"""How often a line is written where there is no terminal."""


@contextmanager
def candidate_bars(stage: str) -> Iterator[tuple[Callable[[Progress], None], OnProgress]]:
    """Show a bar per stage: images made, masks and scores, writing, and objects accepted; then
    those of finishing.

    Args:
        stage: What the making of images is called.

    Yields:
        What to call with the progress of candidates, and with that of other stages.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(stage), lambda name, done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        names = (stage, "masks and scores", "writing", "objects accepted")
        tasks = [bars.add_task(name, total=None, rate="") for name in names]

        def show(progress: Progress) -> None:
            count, seconds = progress.count, max(progress.seconds, 1e-6)
            before = count.finished - progress.written
            done = (progress.made, progress.scored, progress.written)
            for task, number in zip(tasks, done, strict=False):
                rate = f"{number / seconds:.1f}/s"
                if task == tasks[0]:
                    rate += f", {progress.busy_share:.0%} busy"
                bars.update(
                    task, completed=min(before + number, count.planned), total=count.planned,
                    rate=rate,
                )  # fmt: skip
            bars.update(
                tasks[-1], completed=count.accepted, total=count.wanted,
                rate=f"of {count.finished} tries",
            )  # fmt: skip

        others: dict[str, TaskID] = {}

        def show_other(name: str, done: int, total: int) -> None:
            if name not in others:
                others[name] = bars.add_task(name, total=total, rate="")
            bars.update(others[name], completed=done)

        yield show, show_other


def progress_line(progress: Progress, stage: str) -> str:
    """One line about a run."""
    count, seconds = progress.count, max(progress.seconds, 1e-6)
    rate = progress.written / seconds
    text = (
        f"{count.accepted} of {count.wanted} objects accepted, {count.finished} tries of "
        f"{count.planned} planned, {rate:.2f}/s, {stage} busy {progress.busy_share:.0%}"
    )
    if rate and count.planned > count.finished:
        text += f", about {(count.planned - count.finished) / rate / 60:.0f} min left"
    return text


def _lines(stage: str) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            print(progress_line(progress, stage), file=sys.stderr, flush=True)

    return show
