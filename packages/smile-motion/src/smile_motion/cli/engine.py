"""Options of commands that make the shards of a collection, and the engines that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, ValuesView
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from smile_motion.io.options import Count, Index, OnlyWith, Workers

if TYPE_CHECKING:
    from smile_motion.export.collection import Collection
    from smile_motion.runtime.partition import Partition

ENGINE_FIELDS = ("workers", "engine", "address", "shard_index", "num_shards")
"""Fields of `EngineOptions`, for the heading that they stand under."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Options of commands that make a collection's shards."""

    workers: Annotated[
        Workers | None, OnlyWith(lambda options: options.engine == "local", "with --engine local")
    ] = None
    """Processes of --engine local. Default: one per core. The files do not depend on it."""
    engine: Literal["local", "ray"] = "local"
    """Processes of this machine, or a Ray cluster; the files are the same."""
    address: Annotated[
        str | None, OnlyWith(lambda options: options.engine == "ray", "with --engine ray")
    ] = None
    """Head of the Ray cluster, HOST:PORT. Default: RAY_ADDRESS, else this machine alone."""
    shard_index: Index | None = None
    """Which of --num-shards jobs this one is, from 0; together they make what one would."""
    num_shards: Count | None = None
    """Jobs, as of a job array, that share the work; the last to finish writes the index."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What there is of a job's shards once the missing ones have been made."""

    lines: dict[int, dict[str, Any]]
    """Lines of the index by shard number."""
    kept: int
    """Shards that were there already."""
    written: list[str]
    """Files that the last job writes; none while other jobs are missing."""


def complete_shards(
    options: EngineOptions,
    collection: Collection,
    job: Partition | None,
    *,
    stage: str,
    chunk: int = 1,
    worth_a_process: int = 1,
    note: Callable[[ValuesView[dict[str, Any]]], str] = lambda lines: "",
) -> Completed:
    """Make the shards of a job that are missing, torn or changed, then the index.

    Args:
        options: The engine, and its processes.
        collection: Description of all shards.
        job: This job's share; None for all.
        stage: What making them is called beside the bar, such as `rendering`.
        chunk: Shards that a worker is given at a time.
        worth_a_process: Clips for which another process pays, where --workers is not given.
        note: Text beside the bar, from the lines of the shards that are there.

    Raises:
        InputError: A shard cannot be made, or the engine cannot be used.
    """
    from smile_motion.export.collection import read_index, sound_shards, write_index
    from smile_motion.runtime.progress import progress_bar
    from smile_motion.runtime.signals import stopped_by_signals

    numbers = collection.numbers(job)
    total = collection.clips_in(numbers)
    lines: dict[int, dict[str, Any]] = {}
    todo = []
    with progress_bar(note=lambda: note(lines.values())) as on_progress, stopped_by_signals():
        on_progress("checking", checked := 0, total)
        for number, line in sound_shards(collection, numbers, read_index(collection)):
            if line is None:
                todo.append(number)
            else:
                lines[number] = line
            on_progress("checking", checked := checked + collection.clips_in([number]), total)
        kept = len(lines)
        done = collection.clips_in([*lines])
        on_progress(stage, done, total)
        made = _make_shards(options, collection, todo, chunk, worth_a_process)
        for number, line in made:
            lines[number] = line
            on_progress(stage, done := done + collection.clips_in([number]), total)
        written = write_index(collection, lines, job)
    return Completed(lines=lines, kept=kept, written=[*written])


def _make_shards(
    options: EngineOptions,
    collection: Collection,
    numbers: Sequence[int],
    chunk: int,
    worth_a_process: int,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Make shards on the engine that was chosen, in the order of completion."""
    from smile_motion.export.collection import render_shard
    from smile_motion.runtime.devices import available_cores
    from smile_motion.runtime.ray import run_on_ray
    from smile_motion.runtime.workers import run_in_processes

    work = partial(render_shard, collection=collection)
    if not numbers:
        return iter(())
    if options.engine == "ray":
        return run_on_ray(work, numbers, address=options.address, chunk=chunk)
    workers = options.workers
    if workers is None:
        clips = collection.clips_in(numbers)
        workers = min(available_cores(), clips // worth_a_process, len(numbers))
    return run_in_processes(work, numbers, workers=workers, chunk=chunk)
