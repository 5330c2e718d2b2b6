"""From `transformers`: its VideoMAE encoder, and a classifier's head.

Folders are read here from their weights and the few fields of their configuration that tell sizes;
transformers itself, which a configuration can lead to other code, does not open them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.checkpoints.backbone import Backbone, build_encoder, hash_weights
from smile_train.checkpoints.configs import (
    VideoMAESizes,
    VideoMAEv2Sizes,
    read_config,
    take_fields,
)
from smile_train.checkpoints.families import find_encoder
from smile_train.checkpoints.files import CONFIG
from smile_train.checkpoints.to_transformers import from_their_names
from smile_train.checkpoints.weight_files import (
    ENCODERS,
    TRANSFORMERS,
    log_left_out,
    open_folder,
)
from smile_train.models.config import StudentConfig, ratio_of
from smile_train.models.mae import Encoder

if TYPE_CHECKING:
    from transformers import VideoMAEConfig, VideoMAEModel

THEIR_HEAD_EPSILON = 1e-5
"""Epsilon of the LayerNorms before their heads, which their configuration cannot change."""
V2_SIZES = "model_config"
"""Where VideoMAE V2's folders keep sizes, which shows that they are such."""


def from_transformers(source: VideoMAEModel | Path) -> tuple[Encoder, StudentConfig]:
    """Take the encoder out of a `transformers.VideoMAEModel`, or a folder that holds one.

    Args:
        source: A model, with its final norm or, of a classifier, without one.

    Returns:
        The encoder in evaluation mode, float32, and its sizes. Outputs are equal to 1e-5.

    Raises:
        InputError: The folder is not read, or the model is of another architecture.
    """
    backbone = backbone_from_transformers(source)
    return build_encoder(backbone), backbone.config


def backbone_from_transformers(source: Any) -> Backbone:
    """Open the encoder, and a classifier's head, of a model or a folder of transformers' VideoMAE.

    Raises:
        InputError: The folder is not read, or the model is of another architecture.
    """
    theirs, weights, path = _parts(source)
    name = type(source).__name__ if path is None else str(source)
    config, grid = _our_config(theirs, name)
    if "fc_norm.weight" in weights:
        config = replace(config, head_epsilon=THEIR_HEAD_EPSILON)
    elif "norm.weight" not in weights:
        raise InputError(
            f"{name}: no final norm (`use_mean_pooling`), and no classifier with one; give a "
            f"pre-trained VideoMAE, or the whole classifier"
        )
    weights = {n: w for n, w in weights.items() if not n.startswith(_OF_PRETRAINING)}
    return Backbone(
        source=Path(name),
        sha256="" if path is None else hash_weights(path),
        config=config,
        grid=grid,
        trained=grid,
        weights=weights,
        classes=_classes(theirs.id2label, weights.get("head.weight")),
        pretraining={"published": "transformers VideoMAE"},
    )


_OF_PRETRAINING = ("decoder.", "encoder_to_decoder.", "mask_token")


def _parts(
    source: Any,
) -> tuple[VideoMAESizes | VideoMAEConfig, dict[str, torch.Tensor], Path | None]:
    """Sizes, weights under our names, and the file of weights where it is known."""
    if not isinstance(source, Path):
        return source.config, from_their_names(source.state_dict(), type(source).__name__), None
    sizes = take_fields(VideoMAESizes, read_config(source / CONFIG), source / CONFIG)
    opened = open_folder(source, TRANSFORMERS)
    log_left_out(opened)
    return sizes, from_their_names(opened.weights, str(source)), opened.path


def _classes(labels: Any, head: torch.Tensor | None) -> tuple[str, ...]:
    """Names of classes by number, where each output of a head has one."""
    named = {str(number): str(label) for number, label in (labels or {}).items()}
    count = 0 if head is None else len(head)
    return (
        tuple(named[str(n)] for n in range(count))
        if set(named) >= set(map(str, range(count)))
        else ()
    )


def backbone_from_videomae_v2(folder: Path) -> Backbone:
    """Open the encoder of a folder as VideoMAE V2 has them on the hub.

    Raises:
        InputError: It is not read, or of another architecture.
    """
    path = folder / CONFIG
    given = read_config(path).get(V2_SIZES)
    theirs = take_fields(VideoMAEv2Sizes, given if isinstance(given, dict) else {}, path)
    faults = [
        fault
        for fault, there in (
            ("learned positions", theirs.use_learnable_pos_emb),
            ("cosine attention", theirs.cos_attn),
            ("scaled layers (init_values)", bool(theirs.init_values)),
            (f"{theirs.in_chans} colour channels", theirs.in_chans != 3),
        )
        if there
    ]
    if faults:
        raise InputError(f"{folder}: {', '.join(faults)}; give a VideoMAE V2 as published")
    opened = open_folder(folder, ENCODERS)
    log_left_out(opened)
    _, weights = find_encoder(opened.weights, opened.path)
    sides = {"height": theirs.img_size, "width": theirs.img_size, "patch": theirs.patch_size}
    try:
        config = StudentConfig(
            width=theirs.embed_dim,
            depth=theirs.depth,
            heads=theirs.num_heads,
            mlp_ratio=_whole(theirs.mlp_ratio),
            decoder_width=theirs.embed_dim,
            decoder_heads=theirs.num_heads,
            epsilon=theirs.layer_norm_eps,
            head_epsilon=theirs.layer_norm_eps,
        )
        grid = TokenGrid(frames=theirs.num_frames, tubelet=theirs.tubelet_size, **sides)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Backbone(
        source=folder,
        sha256=hash_weights(opened.path),
        config=config,
        grid=grid,
        trained=grid,
        weights=weights,
        pretraining={"published": "VideoMAE V2"},
    )


def _whole(ratio: float) -> float:
    return int(ratio) if ratio == int(ratio) else ratio


def _our_config(
    theirs: VideoMAESizes | VideoMAEConfig, name: str
) -> tuple[StudentConfig, TokenGrid]:
    height, width = _sides(theirs.image_size)
    patch, patch_width = _sides(theirs.patch_size)
    faults = []
    if patch != patch_width:
        faults.append(f"patches of {patch} x {patch_width}")
    if theirs.hidden_act != "gelu":
        faults.append(f"hidden_act {theirs.hidden_act!r}")
    if theirs.num_channels != 3:
        faults.append(f"{theirs.num_channels} colour channels")
    if faults:
        raise InputError(f"{name}: {', '.join(faults)}; give a VideoMAE as published")
    try:
        student = StudentConfig(
            width=theirs.hidden_size,
            depth=theirs.num_hidden_layers,
            heads=theirs.num_attention_heads,
            mlp_ratio=ratio_of(theirs.intermediate_size, theirs.hidden_size),
            decoder_width=theirs.decoder_hidden_size,
            decoder_depth=theirs.decoder_num_hidden_layers,
            decoder_heads=theirs.decoder_num_attention_heads,
            epsilon=theirs.layer_norm_eps,
        )
        grid = TokenGrid(
            frames=theirs.num_frames,
            height=height,
            width=width,
            tubelet=theirs.tubelet_size,
            patch=patch,
        )
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return student, grid


def _sides(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Height and width, of which transformers writes one where they are equal."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
