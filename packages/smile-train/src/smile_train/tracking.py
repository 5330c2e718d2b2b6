"""Curves for people to look at, through Accelerate's trackers."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import FullyShardedDataParallelPlugin, ProjectConfiguration
from smile_motion.errors import InputError

from smile_train.run_options import RunOptions


def open_accelerator(config: RunOptions) -> Accelerator:
    """Join the processes that `accelerate launch` started, or be alone.

    Raises InputError when the tracker that is asked for is not installed.
    """
    if config.track != "none" and find_spec(config.track) is None:
        raise InputError(
            f"--track {config.track}: not installed; install it with pip install {config.track}, "
            f"or use --track tensorboard"
        )
    # An earlier run in this process may have had another precision.
    AcceleratorState._reset_state(reset_partial_state=False)
    accelerator = Accelerator(
        mixed_precision="no" if config.precision == "fp32" else config.precision,
        cpu=not torch.cuda.is_available(),
        log_with=None if config.track == "none" else config.track,
        project_config=ProjectConfiguration(logging_dir="."),
    )
    if accelerator.distributed_type == DistributedType.MULTI_CPU and _wants_sharding():
        # Accelerate leaves FSDP out on CPUs, where torch shards as well as anywhere.
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = plugin
    return accelerator


def _wants_sharding() -> bool:
    """Whether `accelerate launch` was told to use FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


def describe_processes(accelerator: Accelerator, *, sharded: bool) -> str:
    """Say what a run runs on, such as `2 x NVIDIA H100 (FSDP)` or `1 x CPU`."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    alone = accelerator.num_processes == 1
    how = "" if alone else " (FSDP)" if sharded else " (DDP)"
    return f"{accelerator.num_processes} x {name}{how}"


def start_tracking(
    accelerator: Accelerator, config: RunOptions, out: Path, described: dict[str, Any]
) -> None:
    """Open the tracker of a stage: TensorBoard's files in its folder, the others' by its name."""
    if config.track == "none":
        return
    if config.track == "tensorboard":
        accelerator.project_configuration.logging_dir = str(out)
        accelerator.init_trackers("tensorboard")
        return
    values = {
        name: value if isinstance(value, int | float) else str(value)
        for name, value in described.items()
    }
    named: dict[str, Any] = {"name": out.as_posix()}
    if config.track == "wandb":
        named["dir"] = str(out)
    accelerator.init_trackers("smile", config=values, init_kwargs={config.track: named})
