"""Options of commands that make the shards of a collection, and the engines that make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from smile_motion.io.options import Count, Index, OnlyWith, Workers

if TYPE_CHECKING:
    from smile_motion.export.collection import Collection

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


def make_shards(
    options: EngineOptions,
    collection: Collection,
    numbers: Sequence[int],
    *,
    chunk: int = 1,
    worth_a_process: int = 1,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Make shards on the engine that was chosen.

    Args:
        options: The engine, and its processes.
        collection: Description of all shards.
        numbers: Shards to make.
        chunk: Shards that a worker is given at a time.
        worth_a_process: Clips for which another process pays, where --workers is not given.

    Yields:
        Number and line of the index of each shard, in the order of completion.

    Raises:
        InputError: A shard cannot be made, or the engine cannot be used.
    """
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
