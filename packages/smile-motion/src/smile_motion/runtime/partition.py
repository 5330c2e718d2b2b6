"""Partitions of work that several processes or machines share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smile_motion.errors import InputError


def is_first_process() -> bool:
    """Whether this process is the one that works; the others have nothing to do."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def results_folder(out: Path) -> Iterator[None]:
    """Make a folder and hold it, in the first process for all; see `folder_lock.output_folder`."""
    from smile_motion.io.output_folders import output_folder

    if not is_first_process():
        yield
        return
    with output_folder(out):
        yield


@dataclass(frozen=True)
class Partition:
    """Which part of a bank: of units, or of numbered objects, each `of`-th from `index`."""

    index: int
    """From 0."""
    of: int
    """How many shards there are."""

    def __post_init__(self) -> None:
        """Raise InputError for what cannot be."""
        if self.of < 1 or not 0 <= self.index < self.of:
            raise InputError(
                f"shard {self.index} of {self.of}: --shard-index runs from 0 to --num-shards - 1"
            )

    @property
    def name(self) -> str:
        """Its folder's, such as `0-of-4`."""
        return f"{self.index}-of-{self.of}"


def partition(index: int | None, of: int | None) -> Partition | None:
    """The partition that --shard-index and --num-shards mean; None where neither is given.

    Raises:
        InputError: One is given without the other.
    """
    if index is None and of is None:
        return None
    if index is None or of is None:
        raise InputError("--shard-index and --num-shards go together; give both")
    return Partition(index, of)


@dataclass(frozen=True, kw_only=True)
class Launched:
    """This process among those that `accelerate launch` or `torchrun` started together."""

    rank: int
    """Among all."""
    world: int
    """How many."""
    local_rank: int
    """Among those of this machine: the number of its GPU."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Launched | None:
        """Read what the launcher set; None when this process was started alone."""
        world = int(environment.get("WORLD_SIZE", "1"))
        if world < 2 or "RANK" not in environment:
            return None
        rank = int(environment["RANK"])
        return cls(rank=rank, world=world, local_rank=int(environment.get("LOCAL_RANK", rank)))
