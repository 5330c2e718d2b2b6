"""Partitions of work that several processes or machines share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from smile_motion.errors import InputError


@dataclass(frozen=True)
class Shard:
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
