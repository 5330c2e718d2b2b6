"""Progress bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

INTERVAL_S = 0.05
"""Shortest time between two updates of a bar, seconds; calls may come by the million."""


@contextmanager
def progress_bar(note: Callable[[], str] = lambda: "") -> Iterator[OnProgress]:
    """Show each stage as a bar with elapsed and remaining time; nothing without a terminal.

    Args:
        note: Returns what is shown behind the times, at each update of the bar.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}
        shown_s: dict[str, float] = {}

        def show(stage: str, done: int, total: int) -> None:
            now_s = time.monotonic()
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total, note="")
            elif done != total and now_s - shown_s[stage] < INTERVAL_S:
                return
            shown_s[stage] = now_s
            progress.update(tasks[stage], completed=done, note=note())

        yield show


@contextmanager
def stage_bars() -> Iterator[OnProgress]:
    """Like `progress_bar`, but without drawing between stages, when libraries draw their own."""
    with ExitStack() as bar:
        shown: dict[str, OnProgress] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                bar.close()
                shown.clear()
                shown[stage] = bar.enter_context(progress_bar())
            shown[stage](stage, done, total)
            if done == total:
                bar.close()
                shown.clear()

        yield show


OnProgress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""
