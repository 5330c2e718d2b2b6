"""Curves for people to look at, through Accelerate's trackers."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import FullyShardedDataParallelPlugin, ProjectConfiguration
from smile_motion.errors import InputError
from smile_motion.io.files import write_atomically

from smile_train.config.machine import Machine, settle_machine
from smile_train.config.run import PrecisionName, RunOptions

RUN_ID = "wandb_id"
"""File of a run's folder that holds what Weights & Biases knows the run by."""
Options = TypeVar("Options", bound=RunOptions)


def open_run(config: Options, begun: Mapping[str, Any]) -> tuple[Options, Accelerator, Machine]:
    """Settle what a run takes from its machine, and join the processes that were launched.

    Args:
        begun: Settings that the run began with, which it keeps where no option says otherwise;
            empty for a new one.

    Returns:
        The configuration with its precision and threads, and what was settled and why.

    Raises:
        InputError: The tracker that is asked for is not installed, or the machine lacks what is
            asked for.
    """
    if config.track != "none" and find_spec(config.track) is None:
        raise InputError(
            f"--track {config.track}: not installed; install it with pip install {config.track}, "
            f"or use --track tensorboard"
        )
    machine = settle_machine(
        config.precision,
        config.cpu_threads,
        begun_precision=begun.get("precision"),
        begun_threads=begun.get("cpu_threads"),
    )
    settled = replace(config, precision=machine.precision, cpu_threads=machine.cpu_threads)
    accelerator = open_accelerator(machine.precision, track=config.track)
    if accelerator.distributed_type == DistributedType.MULTI_CPU and _wants_sharding():
        # Accelerate leaves FSDP out on CPUs, where torch shards as well as anywhere.
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = plugin
    return settled, accelerator, machine


def open_accelerator(precision: PrecisionName, *, track: str = "none") -> Accelerator:
    """Join the processes that `accelerate launch` started, or be alone."""
    # An earlier run in this process may have had another precision.
    AcceleratorState._reset_state(reset_partial_state=False)
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=not torch.cuda.is_available(),
        log_with=None if track == "none" else track,
        project_config=ProjectConfiguration(logging_dir="."),
    )


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
    accelerator: Accelerator, config: RunOptions, out: Path, described: dict[str, Any], step: int
) -> None:
    """Open the tracker of a stage: TensorBoard's files in its folder, the others' by its name.

    A run that goes on continues its curves. What a tracker has of steps that are made again, from
    before the run was killed, TensorBoard drops; Weights & Biases keeps, and ignores the new
    values, which are the same bit for bit on a CPU; Trackio draws both.

    Args:
        step: After which the run goes on; 0 where it begins.
    """
    if config.track == "none":
        return
    if config.track == "tensorboard":
        accelerator.project_configuration.logging_dir = str(out)
        accelerator.init_trackers(
            "tensorboard", init_kwargs={"tensorboard": {"purge_step": step + 1}}
        )
        return
    values = {
        name: value if isinstance(value, int | float) else str(value)
        for name, value in described.items()
    }
    named: dict[str, Any] = {"name": out.as_posix(), "resume": "allow" if step else "never"}
    if config.track == "wandb" and accelerator.is_main_process:
        named |= {"dir": str(out), "id": _id_of_run(out / RUN_ID, anew=step == 0)}
    accelerator.init_trackers("smile", config=values, init_kwargs={config.track: named})


def _id_of_run(path: Path, *, anew: bool) -> str:
    """Name a run for Weights & Biases, which knows it by that when it goes on."""
    if anew or not path.is_file():
        write_atomically(path, secrets.token_hex(8).encode())
    return path.read_text(encoding="ascii")


def peak_memory(device: torch.device) -> int:
    """Most bytes held at once so far: on a CUDA device, or else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
