"""Partitions of work among processes and machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smile_motion.errors import OptionError


def is_first_process() -> bool:
    """Whether this is the main process of a launch (RANK 0), or was started alone."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def results_folder(out: Path) -> Iterator[None]:
    """Create and lock a folder in the main process, for all processes; see `output_folder`."""
    from smile_motion.io.output_folders import output_folder

    if not is_first_process():
        yield
        return
    with output_folder(out):
        yield


@dataclass(frozen=True)
class Partition:
    """One job's share of a bank's units or numbered objects: every `of`-th from `index`."""

    index: int
    """Number of the job, from 0."""
    of: int
    """Number of jobs."""

    def __post_init__(self) -> None:
        """Check that the index is below the number of jobs."""
        if self.of < 1 or not 0 <= self.index < self.of:
            raise OptionError(
                f"shard {self.index} of {self.of}: --shard-index runs from 0 to --num-shards - 1"
            )

    @property
    def name(self) -> str:
        """Name of its folder, such as `0-of-4`."""
        return f"{self.index}-of-{self.of}"


def partition(index: int | None, of: int | None) -> Partition | None:
    """Make the partition of --shard-index and --num-shards; None if neither is given.

    Raises:
        OptionError: One is given without the other, or the index is out of range.
    """
    if index is None and of is None:
        return None
    if index is None or of is None:
        raise OptionError("--shard-index and --num-shards go together; give both")
    return Partition(index, of)


@dataclass(frozen=True, kw_only=True)
class Launched:
    """This process among those that `accelerate launch` or `torchrun` started together."""

    rank: int
    """Rank among all processes."""
    world: int
    """Number of processes."""
    local_rank: int
    """Rank among the processes of this machine: the number of its GPU."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Launched | None:
        """Read the launcher's environment variables; None if the process was started alone."""
        world = int(environment.get("WORLD_SIZE", "1"))
        if world < 2 or "RANK" not in environment:
            return None
        rank = int(environment["RANK"])
        return cls(rank=rank, world=world, local_rank=int(environment.get("LOCAL_RANK", rank)))
