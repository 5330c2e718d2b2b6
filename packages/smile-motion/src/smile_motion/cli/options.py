"""Options that commands with several processes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from smile_motion.io.options import Count, Index, OnlyWith
from smile_motion.runtime.devices import available_cores


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Work that several processes share; `accelerate launch -m smile_motion build-bank` needs
    none of these."""

    shard_index: Index | None = None
    """Which part to build, from 0; `bank merge` unites all parts."""
    num_shards: Count | None = None
    """How many parts there are."""
    engine: Literal["local", "ray"] = "local"
    """`ray` builds the --num-shards parts on a Ray cluster, a GPU each, and unites them."""
    address: Annotated[
        str | None, OnlyWith(lambda options: options.shard.engine == "ray", "with --engine ray")
    ] = None
    """Head of the Ray cluster, HOST:PORT. Default: RAY_ADDRESS, else this machine alone."""


def local_device(device: str, local_rank: int | None) -> str:
    """The GPU of this process among those launched together; `device` as it is otherwise."""
    if local_rank is None or device not in ("auto", "cuda"):
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{local_rank % count}" if count else device


def writers(workers: int | None) -> int | None:
    """Threads that write, as `--workers` says it."""
    return None if workers is None else max(1, min(workers, 2 * available_cores()))
