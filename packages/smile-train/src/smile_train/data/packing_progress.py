"""Progress of packing on the screen: videos, remaining time, and the size that all will have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smile_motion.export.base import Line
    from smile_motion.export.collection import Collection

OnShard = Callable[[int, "Line", bool], None]
"""Called with a shard's number and line, and whether it was there already."""


@contextmanager
def packing_progress(collection: Collection, numbers: Sequence[int]) -> Iterator[OnShard]:
    """Show a bar over the videos of some shards; silent when piped.

    What is there already counts for the size, not for the rate that the remaining time follows
    from.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("packing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[size]}"),
    )
    videos = collection.clips_in(numbers)
    seen = made = 0
    size = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("packing", total=videos, size="")

        def show(number: int, line: Line, was_there: bool) -> None:
            nonlocal seen, made, size
            count = collection.clips_in([number])
            seen, size = seen + count, size + line["bytes"]
            text = expected_size(size, seen, videos)
            if was_there:
                progress.update(task, total=videos - seen, size=text)
            else:
                made += count
                progress.update(task, completed=made, size=text)

        yield show


def expected_size(size: int, seen: int, videos: int) -> str:
    """How large all videos will be, by those that are packed."""
    return f"{size / 1e9:.1f} of about {size / max(seen, 1) * videos / 1e9:.1f} GB"
