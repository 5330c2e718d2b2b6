"""One door to every checkpoint that holds our encoder, whatever is around it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from smile_motion.errors import InputError
from smile_motion.io.files import hash_file
from smile_motion.tokens import TokenGrid

from smile_train.checkpoints.checkpoints import find_checkpoint
from smile_train.checkpoints.configs import OwnSizes, read_config, require_sizes
from smile_train.checkpoints.families import find_encoder, usual_frames
from smile_train.checkpoints.files import CONFIG, MANIFEST, WEIGHTS, load_checkpoint, read_manifest
from smile_train.checkpoints.published import infer_encoder, load_official, load_weights
from smile_train.checkpoints.weight_files import read_weights
from smile_train.models import StudentConfig
from smile_train.models.mae import Encoder
from smile_train.models.positions import grid_positions

OTHERS = ("clip:", "viclip:")
"""What `smile_train.load` alone opens."""
TABLE_TOLERANCE = 1e-4
"""Most that a stored table of positions may differ from the computed one."""


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


def open_backbone(path: Path, *, heads: int | None = None) -> Backbone:
    """Open the encoder of a checkpoint.

    path   a run or a checkpoint of ours; a folder that `save_pretrained` of our models wrote, or
           transformers' of VideoMAE, or VideoMAE V2's of the hub; the hub id of such a folder; or
           a published file of a known family (`families`).
    heads  attention heads, where neither the file nor its width tells.
    Raises InputError when there is none, it is torn, or it is of another architecture.
    """
    if not path.exists():
        path = _fetch(path.as_posix())
    if path.is_file():
        return _open_published(path, heads)
    if (found := find_checkpoint(path)) is not None:
        return _open_ours(found)
    if (path / CONFIG).is_file():
        return _open_folder(path)
    raise InputError(f"{path}: neither a run, nor a checkpoint, nor a model's folder")


def _fetch(identifier: str) -> Path:
    """Folder of a hub repository in the cache, fetched where it is not there."""
    if identifier.startswith(OTHERS):
        raise InputError(
            f"{identifier}: of another architecture, which is not trained or exported here; probe "
            f"strict, probe knn and the figures take it"
        )
    local = identifier.startswith((".", "/")) or Path(identifier).parent.exists()
    if local or identifier.count("/") != 1:
        raise InputError(f"{identifier}: no such run, checkpoint, file or folder")
    from smile_motion.io.hub import fetch_model

    return fetch_model(identifier, instead="give its folder")


def _open_published(path: Path, heads: int | None) -> Backbone:
    checkpoint = load_official(path)
    family, weights = find_encoder(checkpoint.weights, path)
    config, grid = infer_encoder(weights, checkpoint, frames=usual_frames(weights), heads=heads)
    config = replace(config, positions=family.positions)
    table = checkpoint.weights.get(family.table or "")
    if table is not None:
        own = grid_positions(grid, config.width, kind=config.positions)
        if table.numel() != own.numel() or (table.view_as(own) - own).abs().max() > TABLE_TOLERANCE:
            raise InputError(
                f"{path}: {family.name}, with a table of positions of {tuple(table.shape)} that is "
                f"not the {config.positions} one of {grid.shape} tokens"
            )
    return Backbone(
        source=path,
        sha256=hash_weights(path),
        config=config,
        grid=grid,
        trained=grid,
        weights=weights,
        pretraining={"published": family.name},
    )


def _open_ours(folder: Path) -> Backbone:
    weights, training, config = load_checkpoint(folder)
    sizes = OwnSizes.read(config, folder / CONFIG)
    own = config | {"step": training.get("step")}
    pretraining = config.get("pretraining", {}) if "classes" in config else own
    if "encoder.norm.weight" in weights:  # of a pre-training model, or of attentive probes
        weights = _below(weights, "encoder.")
    elif config.get("model") != "classifier":  # of a counter, whose head reads a rhythm
        weights = {n: w for n, w in weights.items() if not n.startswith(("rhythm", "head."))}
    return Backbone(
        source=folder,
        sha256=hash_weights(folder),
        config=sizes.student,
        grid=sizes.grid,
        trained=sizes.trained or sizes.grid,
        weights=weights,
        classes=sizes.classes,
        pretraining=pretraining,
    )


def _open_folder(folder: Path) -> Backbone:
    """A folder of transformers, of VideoMAE V2, or that `save_pretrained` of our models wrote."""
    config = read_config(folder / CONFIG)
    if "student" not in config:
        from smile_train.checkpoints import from_transformers

        if from_transformers.V2_SIZES in config:
            return from_transformers.backbone_from_videomae_v2(folder)
        return from_transformers.backbone_from_transformers(folder)
    weights = read_weights(folder / WEIGHTS)
    sizes = OwnSizes.read(config, folder / CONFIG)
    return Backbone(
        source=folder,
        sha256=hash_weights(folder / WEIGHTS),
        config=sizes.student,
        grid=sizes.grid,
        trained=sizes.trained or sizes.grid,
        weights=_below(weights, "encoder.") if "mask_token" in weights else weights,
        classes=sizes.classes,
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

    Raises InputError when weights are missing or do not fit.
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

    classes     of the classifier.
    reset_head  leave out a head that the checkpoint has.
    names       of the classes by number, where they are known.
    returns     weights by the classifier's names; what is not among them keeps its first values:
                `fc_norm` and `head` of an encoder that has only been pre-trained, whose own final
                norm is dropped (VideoMAE).
    Raises InputError when the checkpoint's head is of other classes, by number or by name.
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
