"""The published checkpoint format: SMILE's and, alike, VideoMAE's."""

from __future__ import annotations

import argparse
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.model import Classifier, PretrainModel, StudentConfig

HEAD_WIDTH = 64
"""Width of an attention head where the checkpoint does not tell."""


@dataclass(frozen=True, eq=False)
class OfficialCheckpoint:
    """What a published checkpoint holds."""

    path: Path
    """The file."""
    weights: dict[str, torch.Tensor]
    """State dict of the model."""
    args: dict[str, Any]
    """Arguments it was trained with."""
    epoch: int | None
    """Last epoch."""


def load_official(path: Path) -> OfficialCheckpoint:
    """Read a published checkpoint; nothing but tensors and an `argparse.Namespace` is unpickled.

    Raises InputError when the file is missing, unreadable, or holds anything else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{path}: not a checkpoint that can be read safely ({reason}); download it again"
        ) from error
    weights = data.get("model", data.get("module")) if isinstance(data, dict) else None
    if not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise InputError(f"{path}: holds no `model` weights; expected a published checkpoint")
    args = data.get("args")
    return OfficialCheckpoint(
        path=path,
        weights=weights,
        args=vars(args) if isinstance(args, argparse.Namespace) else {},
        epoch=data.get("epoch"),
    )


def infer_student(
    checkpoint: OfficialCheckpoint, *, heads: int | None = None, decoder_heads: int | None = None
) -> StudentConfig:
    """Read widths and depths off the shapes.

    heads, decoder_heads  where they are not width / 64, as in every published size.
    Raises InputError when the weights are not of this architecture.
    """
    weights = checkpoint.weights
    prefix = "encoder." if "encoder.patch_embed.proj.weight" in weights else ""
    try:
        width = weights[f"{prefix}patch_embed.proj.weight"].shape[0]
        hidden = weights[f"{prefix}blocks.0.mlp.fc1.weight"].shape[0]
    except KeyError as error:
        raise InputError(
            f"{checkpoint.path}: no {error.args[0]} in it; not a VideoMAE-family checkpoint"
        ) from error
    decoder_width = weights["mask_token"].shape[-1] if "mask_token" in weights else width // 2
    return StudentConfig(
        width=width,
        depth=_blocks(weights, f"{prefix}blocks."),
        heads=heads or width // HEAD_WIDTH,
        mlp_ratio=hidden // width,
        decoder_width=decoder_width,
        decoder_depth=_blocks(weights, "decoder.blocks."),
        decoder_heads=decoder_heads or heads or decoder_width // HEAD_WIDTH,
    )


def load_weights(
    model: PretrainModel | Classifier, weights: dict[str, torch.Tensor], source: Path
) -> None:
    """Load weights whose names and shapes must match exactly.

    Raises InputError listing what is unknown, missing, or of another shape.
    """
    own = model.state_dict()
    faults = [f"unknown {name}" for name in weights if name not in own]
    faults += [f"missing {name}" for name in own if name not in weights]
    faults += [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if faults:
        listed = ", ".join(faults[:6]) + (f" and {len(faults) - 6} more" if len(faults) > 6 else "")
        raise InputError(
            f"{source}: a checkpoint of another model ({listed}); choose the student that it is of"
        )
    model.load_state_dict(weights)


def open_pretrained(
    path: Path, grid: TokenGrid, *, heads: int | None = None
) -> tuple[PretrainModel, OfficialCheckpoint]:
    """Build the pre-training model that a published checkpoint is of, with its weights."""
    checkpoint = load_official(path)
    config = infer_student(checkpoint, heads=heads)
    if "decoder.head.weight" not in checkpoint.weights:
        raise InputError(f"{path}: no decoder in it; not a pre-training checkpoint")
    target_dim = checkpoint.weights["decoder.head.weight"].shape[0]
    model = PretrainModel(config, grid, target_dim)
    load_weights(model, checkpoint.weights, path)
    return model, checkpoint


def save_official(path: Path, model: PretrainModel, *, args: dict[str, Any], epoch: int) -> None:
    """Write a checkpoint that the published code loads."""
    temporary = path.with_name(f".{path.name}.tmp")
    data = {"model": model.state_dict(), "epoch": epoch, "args": argparse.Namespace(**args)}
    try:
        torch.save(data, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _blocks(weights: dict[str, torch.Tensor], prefix: str) -> int:
    return 1 + max(
        (int(name[len(prefix) :].split(".")[0]) for name in weights if name.startswith(prefix)),
        default=-1,
    )
