"""An encoder's weights with what is known of them, and the models built from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from smile_motion.errors import InputError
from smile_motion.io.files import hash_file
from smile_motion.tokens import TokenGrid

from smile_train.checkpoints.configs import require_sizes
from smile_train.checkpoints.files import MANIFEST, WEIGHTS, read_manifest
from smile_train.checkpoints.published import load_weights
from smile_train.models.config import STUDENTS, StudentConfig, StudentName
from smile_train.models.heads import Classifier
from smile_train.models.mae import Encoder

TABLE_TOLERANCE = 1e-4
"""Largest difference between a stored table of positions and the computed one."""


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
    pretraining: dict[str, Any] = field(default_factory=dict)
    """Configuration that it was trained with, where it is known."""

    def __post_init__(self) -> None:
        """Raise InputError where the sizes are not those of the weights."""
        require_sizes(self.config, self.weights, self.source)


def untrained_backbone(
    student: StudentName, *, frames: int | None, size: int | None, patch: int, seed: int
) -> Backbone:
    """Random weights of an encoder, the same for a seed: the control of every pre-training.

    Args:
        frames, size: Frames and side in pixels of its clips; None for the paper's, 16 and 224.
        patch: Side of a token, pixels.

    Raises:
        InputError: The size is not a multiple of the patch, or frames are odd.
    """
    paper = TokenGrid()
    side = size or paper.height
    grid = TokenGrid(frames=frames or paper.frames, height=side, width=side, patch=patch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = Encoder(STUDENTS[student], grid).state_dict()
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return Backbone(
        source=Path(f"{student} from scratch"),
        sha256=digest.hexdigest(),
        config=STUDENTS[student],
        grid=grid,
        trained=grid,
        weights=weights,
        pretraining={"untrained": student},
    )


def _below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def hash_weights(opened: Path) -> str:
    """SHA-256 of a checkpoint's file of weights."""
    if (opened / MANIFEST).is_file():
        return read_manifest(opened).sha256[WEIGHTS]
    return hash_file(opened)


def build_encoder(backbone: Backbone) -> Encoder:
    """The encoder alone, in evaluation mode; without a final norm where it has none.

    Raises:
        InputError: Weights are missing or do not fit.
    """
    encoder = Encoder(backbone.config, backbone.grid, backbone.trained)
    if "norm.weight" not in backbone.weights:
        encoder.norm = torch.nn.Identity()  # type: ignore[assignment]
    own = {
        name: value
        for name, value in backbone.weights.items()
        if not name.startswith(("fc_norm.", "head."))
    }
    load_weights(encoder, own, backbone.source)
    return encoder.eval()


def classifier_weights(
    backbone: Backbone, classes: int, *, reset_head: bool, names: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    """The part of a checkpoint that a classifier starts from.

    Args:
        classes: Number of the classifier's classes.
        reset_head: Leave out a head that the checkpoint has.
        names: Names of the classes by number, where they are known.

    Returns:
        Weights by the classifier's names; what is not among them keeps its first values: `fc_norm`
        and `head` of an encoder that has only been pre-trained, whose own final norm is dropped
        (VideoMAE).

    Raises:
        InputError: The checkpoint's head is of other classes, by number or by name.
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
    pairs = enumerate(zip(backbone.classes, names, strict=False))
    differing = next((f"{n} is {a!r} there, {b!r} here" for n, (a, b) in pairs if a != b), None)
    if head is not None and differing is not None:
        raise InputError(
            f"{backbone.source}: its head knows other classes than the data set has (class "
            f"{differing}); start with a new head by --reset-head"
        )
    return weights


def open_classifier(backbone: Backbone) -> Classifier:
    """Build a classifier with all the weights of a checkpoint, in evaluation mode.

    Raises:
        InputError: Some are missing or do not fit.
    """
    classes = len(backbone.weights["head.weight"])
    with torch.random.fork_rng(devices=[]):
        model = Classifier(
            backbone.config,
            backbone.grid,
            classes,
            trained=backbone.trained,
            class_names=backbone.classes,
        )
    weights = classifier_weights(backbone, classes, reset_head=False)
    load_weights(model, weights, backbone.source)
    return model.eval()
