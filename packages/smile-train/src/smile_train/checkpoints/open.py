"""One door to every checkpoint: its model, its encoder, or its classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smile_motion.errors import InputError

from smile_train.checkpoints.backbone import (
    TABLE_TOLERANCE,
    Backbone,
    _below,
    hash_weights,
    open_classifier,
)
from smile_train.checkpoints.configs import (
    TOWERS,
    OwnSizes,
    TowerName,
    read_config,
    require_sizes,
    tower_of,
)
from smile_train.checkpoints.families import find_encoder, usual_frames
from smile_train.checkpoints.files import (
    CONFIG,
    MANIFEST,
    WEIGHTS,
    last_folder,
    load_checkpoint,
    newest_checkpoint,
)
from smile_train.checkpoints.published import (
    infer_encoder,
    load_official,
    load_weights,
    motion_sizes,
    open_pretrained,
)
from smile_train.checkpoints.weight_files import read_weights
from smile_train.checkpoints.weight_files.opening import FOLDER_FILES
from smile_train.models.heads import Classifier
from smile_train.models.layers import grid_positions
from smile_train.models.mae import PretrainModel

OTHERS = ("clip:", "viclip:")
"""What `smile_train.load` alone opens, besides transformers' towers."""


def open_backbone(path: Path, *, heads: int | None = None) -> Backbone:
    """Open the encoder of a checkpoint.

    Args:
        path: A run or a checkpoint of ours; a folder that `save_pretrained` of our models wrote, or
            transformers' of VideoMAE, or VideoMAE V2's of the hub; the hub id of such a folder; or
            a published file of a known family (`families`).
        heads: Attention heads, where neither the file nor its width tells.

    Raises:
        InputError: There is none, it is torn, or it is of another architecture.
    """
    path = local_path(path)
    if path.is_file():
        return _open_published(path, heads)
    if (found := find_checkpoint(path)) is not None:
        return _open_ours(found)
    if (path / CONFIG).is_file():
        return _open_folder(path)
    raise InputError(f"{path}: neither a run, nor a checkpoint, nor a model's folder")


def local_path(path: Path) -> Path:
    """A path itself, or where none is there the folder of the hub repository that it names.

    Raises:
        InputError: There is neither.
    """
    return path if path.exists() else _fetch(path.as_posix())


def _fetch(identifier: str) -> Path:
    """Folder of a hub repository in the cache, fetched where it is not there."""
    if identifier.startswith(OTHERS):
        raise InputError(
            f"{identifier}: of another architecture, which is not trained or exported here; probe "
            f"strict, probe knn, probe motion and the figures take it"
        )
    local = identifier.startswith((".", "/")) or Path(identifier).parent.exists()
    if local or identifier.count("/") != 1:
        raise InputError(f"{identifier}: no such run, checkpoint, file or folder")
    from smile_motion.io.hub import fetch_model

    return fetch_model(identifier, instead="give its folder")


def find_tower(path: Path) -> TowerName | None:
    """Which of transformers' video encoders of other architectures a folder holds; None for a run,
    a checkpoint, a file or any other folder."""
    if (path / MANIFEST).is_file() or not (path / CONFIG).is_file():
        return None
    if not any((path / name).is_file() for name in FOLDER_FILES):
        return None
    return tower_of(read_config(path / CONFIG))


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

        if (tower := tower_of(config)) is not None:
            raise InputError(
                f"{folder}: a {TOWERS[tower]}, of another architecture, which is not trained or "
                f"exported here; probe strict, probe knn, probe motion and the figures take it"
            )
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


def open_model(
    path: Path, *, heads: int | None = None
) -> tuple[PretrainModel | Classifier, tuple[str, ...], Path]:
    """Open a pre-training model, or a classifier, with all its weights.

    Args:
        path: What `open_backbone` takes.

    Returns:
        The model in evaluation mode, names of a classifier's classes, and what was opened.

    Raises:
        InputError: There is none, or it is of another architecture.
    """
    backbone = open_backbone(path, heads=heads)
    if "fc_norm.weight" in backbone.weights and "head.weight" in backbone.weights:
        return open_classifier(backbone), backbone.classes, backbone.source
    model, opened = open_checkpoint(path, heads=heads)
    return model, (), opened


def open_checkpoint(path: Path, *, heads: int | None = None) -> tuple[PretrainModel, Path]:
    """Open a checkpoint with the model that it is of.

    Args:
        path: A checkpoint's folder, a run's folder (its newest sound one), or a published file (for
            16 x 224 x 224 clips, unless its arguments say otherwise).

    Returns:
        The model in evaluation mode, and what was opened.

    Raises:
        InputError: There is none, it is torn, or it is of another architecture.
    """
    if path.is_file():
        return open_pretrained(path, heads=heads)[0].eval(), path
    path = find_checkpoint(path) or path
    weights, _, config = load_checkpoint(path)
    if "target_dim" not in config:
        raise InputError(
            f"{path}: a {config.get('model', 'model')}, without the decoder of a pre-training model"
        )
    sizes = OwnSizes.read(config, path / CONFIG)
    require_sizes(sizes.student, weights, path, prefix="encoder.")
    target_dim = sizes.target_dim or 0
    motion_dim, motion_depth = motion_sizes(weights, path)
    model = PretrainModel(
        sizes.student,
        sizes.grid,
        target_dim,
        trained=sizes.trained,
        motion_dim=motion_dim,
        motion_depth=motion_depth,
        predict_visible="decoder.visible_head.weight" in weights,
        target_layers=sizes.target_layers,
    )
    load_weights(model, weights, path)
    return model.eval(), path


def find_checkpoint(path: Path) -> Path | None:
    """Folder of the checkpoint that a path means: its own, or the newest sound one of a run.

    Returns:
        None where the path is neither.

    Raises:
        InputError: For a run without a sound checkpoint.
    """
    if (path / MANIFEST).is_file():
        return path
    run = last_folder(path)
    for name in ("best", "last"):
        if (run / name / MANIFEST).is_file():
            return run / name
    if not (run / "checkpoints").is_dir():
        return None
    newest, _ = newest_checkpoint(run / "checkpoints")
    if newest is None:
        raise InputError(f"{run}: no sound checkpoint in this run")
    return newest


def start_from(source: PretrainModel, opened: Path, model: PretrainModel) -> list[str]:
    """Fill a new model with another's weights.

    Args:
        opened: File or folder that the source was read from, for messages.
        model: A model of the same student, built with the source's `trained` grid.

    Returns:
        A line for each thing that is not the source's.

    Raises:
        InputError: The student or its tokens are of another size.
    """
    weights, own = source.state_dict(), model.state_dict()
    said: list[str] = []

    def leave_as_new(*prefixes: str) -> None:
        nonlocal weights
        weights = {n: value for n, value in weights.items() if not n.startswith(prefixes)}
        weights |= {name: value for name, value in own.items() if name.startswith(prefixes)}

    if source.target_dim != model.target_dim:
        said.append(
            f"{opened} predicts {source.target_dim} values a token, this run {model.target_dim}: "
            f"the decoder's head is new"
        )
        leave_as_new("decoder.head.", "decoder.visible_head.")
    if source.decoder.predict_visible != model.decoder.predict_visible:
        if model.decoder.predict_visible:
            said.append(f"{opened} does not predict visible tokens: their head is new")
        else:
            said.append(f"{opened} predicts visible tokens besides, this run does not: left out")
        leave_as_new("decoder.visible_head.")
    if source.target_layers != model.target_layers:
        theirs, ours = (
            " ".join(map(str, one.target_layers or (one.config.depth,))) for one in (source, model)
        )
        said.append(
            f"the decoder of {opened} is given layers {theirs} of the encoder, that of this run "
            f"{ours}: what joins them is new"
        )
        leave_as_new("encoder_to_decoder.", "layer_norms.")
    sizes = [(one.motion_dim, one.motion_depth) for one in (source, model)]
    if sizes[0] != sizes[1]:
        if model.motion_dim:
            said.append(f"{opened} has no decoder of this run's motion: it is new")
        else:
            said.append(f"{opened} predicts motion besides, this run does not: left out")
        leave_as_new("tracker_decoder.", "encoder_to_tracker.")
    if source.trained.shape != model.grid.shape:
        said.append(f"positions interpolated from {source.trained.shape} to {model.grid.shape}")
    load_weights(model, weights, opened)
    return said
