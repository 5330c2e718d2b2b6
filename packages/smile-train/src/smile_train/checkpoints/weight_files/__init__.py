"""The one door to files of weights that others made: nothing in them is called, or taken on trust.

`open_weights` reads the weights of one model out of whatever a training loop left: beside them may
be an optimizer's state, paths, options, classes that are not installed here.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from smile_train.checkpoints.weight_files.opening import (
    WeightFile,
    open_folder,
    open_weights,
    read_own_state,
)
from smile_train.checkpoints.weight_files.state_dicts import (
    CLIP,
    ENCODERS,
    TRANSFORMERS,
    VICLIP,
    Kind,
)

__all__ = [
    "CLIP",
    "ENCODERS",
    "TRANSFORMERS",
    "VICLIP",
    "Kind",
    "WeightFile",
    "log_left_out",
    "open_folder",
    "open_weights",
    "read_own_state",
    "read_weights",
]


_LOGGER = logging.getLogger(__name__)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors as they are named.

    Raises:
        InputError: The file is damaged, or holds no weights.
    """
    return open_weights(path, None).weights


def log_left_out(file: WeightFile) -> None:
    """Log what was chosen and left out in opening a file, as warnings."""
    for line in file.said:
        _LOGGER.warning("%s: %s", file.path, line)
