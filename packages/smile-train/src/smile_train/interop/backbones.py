"""One door to every checkpoint that holds our encoder, whatever is around it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.checkpoint import CONFIG, MANIFEST, WEIGHTS, load_checkpoint
from smile_train.interop.checkpoints import find_checkpoint, open_checkpoint
from smile_train.model import StudentConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Backbone:
    """The weights of an encoder, and what it is built from."""

    source: Path
    """The file or folder that was opened."""
    sha256: str
    """Hash of the file of weights."""
    config: StudentConfig
    """Sizes."""
    grid: TokenGrid
    """Tokens of the clips that it takes."""
    trained: TokenGrid
    """Tokens that its positions were learned on."""
    weights: dict[str, torch.Tensor]
    """`patch_embed.*` and `blocks.*`; `norm.*` as well where pre-training left it one; of a
    classifier `fc_norm.*`, and `head.*`."""
    classes: tuple[str, ...] = ()
    """Names of a classifier's classes, where the checkpoint tells them."""
    pretraining: dict[str, Any]
    """Configuration that it was trained with, where it is known."""


def open_backbone(path: Path, *, heads: int | None = None) -> Backbone:
    """Open the encoder of a checkpoint.

    path   a run or a checkpoint of ours, or a published file.
    heads  attention heads, where neither the file nor its width tells.
    Raises InputError when there is none, it is torn, or it is of another architecture.
    """
    if not path.is_file() and (found := find_checkpoint(path)) is not None:
        config = json.loads((found / CONFIG).read_text(encoding="utf-8"))
        if config.get("model") == "classifier":
            return _open_classifier(found)
    model, opened = open_checkpoint(path, heads=heads)
    described = {} if opened.is_file() else json.loads((opened / CONFIG).read_text())
    return Backbone(
        source=opened,
        sha256=hash_weights(opened),
        config=model.config,
        grid=model.grid,
        trained=model.trained,
        weights=model.encoder.state_dict(),
        pretraining=described,
    )


def _open_classifier(folder: Path) -> Backbone:
    weights, _, config = load_checkpoint(folder)
    return Backbone(
        source=folder,
        sha256=hash_weights(folder),
        config=StudentConfig(**config["student_config"]),
        grid=TokenGrid(**config["grid"]),
        trained=TokenGrid(**config["trained_grid"]),
        weights=weights,
        classes=tuple(config["classes"]),
        pretraining=config.get("pretraining", {}),
    )


def hash_weights(opened: Path) -> str:
    """SHA-256 of a checkpoint's file of weights."""
    if (opened / MANIFEST).is_file():
        return json.loads((opened / MANIFEST).read_text())["sha256"][WEIGHTS]
    with opened.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def classifier_weights(
    backbone: Backbone, classes: int, *, reset_head: bool
) -> dict[str, torch.Tensor]:
    """The part of a checkpoint that a classifier starts from.

    classes     of the classifier.
    reset_head  leave out a head that the checkpoint has.
    returns     weights by the classifier's names; what is not among them keeps its first values:
                `fc_norm` and `head` of an encoder that has only been pre-trained, whose own final
                norm is dropped (VideoMAE).
    Raises InputError when the checkpoint's head has another number of classes.
    """
    weights = {name: w for name, w in backbone.weights.items() if not name.startswith("norm.")}
    head = weights.get("head.weight")
    if reset_head:
        return {name: w for name, w in weights.items() if not name.startswith("head.")}
    if head is not None and len(head) != classes:
        raise InputError(
            f"{backbone.source}: its head knows {len(head)} classes, the data set has {classes}; "
            f"start with a new head by --reset-head"
        )
    return weights
