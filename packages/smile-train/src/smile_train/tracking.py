"""Curves for people to look at, through Accelerate's trackers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from smile_motion.errors import InputError

from smile_train.config import PretrainConfig


def open_accelerator(config: PretrainConfig) -> Accelerator:
    """Join the processes that `accelerate launch` started, or be alone.

    Raises InputError when the tracker that is asked for is not installed.
    """
    if config.track != "none" and find_spec(config.track) is None:
        raise InputError(
            f"--track {config.track}: not installed; install it with pip install {config.track}, "
            f"or use --track tensorboard"
        )
    return Accelerator(
        mixed_precision="no" if config.precision == "fp32" else config.precision,
        cpu=not torch.cuda.is_available(),
        log_with=None if config.track == "none" else config.track,
        project_config=ProjectConfiguration(logging_dir="."),
    )


def start_tracking(
    accelerator: Accelerator, config: PretrainConfig, out: Path, described: dict[str, Any]
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
