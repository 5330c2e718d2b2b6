"""One door to every checkpoint that holds our encoder, whatever is around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from smile_motion.tokens import TokenGrid

from smile_train.interop.checkpoints import open_checkpoint
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


def open_backbone(path: Path, *, heads: int | None = None) -> Backbone:
    """Open the encoder of a checkpoint.

    path   a run or a checkpoint of ours, or a published file.
    heads  attention heads, where neither the file nor its width tells.
    Raises InputError when there is none, it is torn, or it is of another architecture.
    """
    import hashlib

    model, opened = open_checkpoint(path, heads=heads)
    file = opened if opened.is_file() else opened / "model.safetensors"
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Backbone(
        source=opened,
        sha256=sha256,
        config=model.config,
        grid=model.grid,
        trained=model.trained,
        weights=model.encoder.state_dict(),
    )
