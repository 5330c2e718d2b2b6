"""The published checkpoint format: SMILE's and, alike, VideoMAE's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from smile_motion.errors import InputError
from smile_motion.io.files import replacing
from smile_motion.tokens import TokenGrid

from smile_train.checkpoints.configs import count_blocks, require_sizes
from smile_train.checkpoints.families import split_bias
from smile_train.checkpoints.weight_files import ENCODERS, Kind, log_left_out, open_weights
from smile_train.models.config import STUDENTS, StudentConfig, ratio_of
from smile_train.models.heads import Classifier
from smile_train.models.mae import PretrainModel

HEAD_WIDTH = 64
"""Width of an attention head where nothing else tells."""
ENCODER_HEADS = {student.width: student.heads for student in STUDENTS.values()} | {1408: 16}
DECODER_HEADS = {student.decoder_width: student.decoder_heads for student in STUDENTS.values()}
"""Heads of the published widths; those of ViT-H are 80 wide, of VideoMAE V2's ViT-g 88, not 64."""


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


def load_official(path: Path, *, kind: Kind = ENCODERS) -> OfficialCheckpoint:
    """Read a published checkpoint, or what another training loop left; nothing in it is called.

    Args:
        kind: Kind of model that is expected.

    Raises:
        InputError: The file is missing, unreadable, or holds no weights.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    opened = open_weights(path, kind)
    log_left_out(opened)
    return OfficialCheckpoint(
        path=path, weights=opened.weights, args=opened.args, epoch=opened.epoch
    )


def infer_student(
    checkpoint: OfficialCheckpoint, *, heads: int | None = None, decoder_heads: int | None = None
) -> StudentConfig:
    """Read widths and depths off the shapes; shapes do not tell the heads.

    Args:
        heads, decoder_heads: Attention heads. Default: what the file's arguments say, else those
            of a published width, else the width over 64; a decoder of which none of these tells has
            as many heads as the encoder.

    Raises:
        InputError: The weights are not of this architecture.
    """
    weights, args = checkpoint.weights, checkpoint.args
    prefix = "encoder." if "encoder.patch_embed.proj.weight" in weights else ""
    try:
        width = weights[f"{prefix}patch_embed.proj.weight"].shape[0]
        hidden = weights[f"{prefix}blocks.0.mlp.fc1.weight"].shape[0]
        decoder_width = weights["mask_token"].shape[-1] if "mask_token" in weights else width
        depth = count_blocks(weights, f"{prefix}blocks.")
        decoder_depth = count_blocks(weights, "decoder.blocks.")
    except KeyError as error:
        raise InputError(
            f"{checkpoint.path}: no {error.args[0]} in it; not a VideoMAE-family checkpoint"
        ) from error
    except (IndexError, ValueError) as error:
        raise InputError(
            f"{checkpoint.path}: names or shapes of another architecture ({error}); "
            f"not a VideoMAE-family checkpoint"
        ) from error
    heads = heads or _stored(args, "encoder_heads") or _usual_heads(width, ENCODER_HEADS)
    if heads is None:
        raise InputError(
            f"{checkpoint.path}: does not tell the attention heads of its width {width}; "
            f"give them with --heads"
        )
    if decoder_heads is None and "mask_token" in weights:
        decoder_heads = _stored(args, "decoder_heads")
    try:
        return StudentConfig(
            width=width,
            depth=depth,
            heads=heads,
            mlp_ratio=ratio_of(hidden, width),
            decoder_width=decoder_width,
            decoder_depth=decoder_depth,
            decoder_heads=decoder_heads
            or (_usual_heads(decoder_width, DECODER_HEADS) if "mask_token" in weights else heads)
            or heads,
        )
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from error


def infer_encoder(
    weights: dict[str, torch.Tensor],
    checkpoint: OfficialCheckpoint,
    *,
    frames: int,
    heads: int | None = None,
) -> tuple[StudentConfig, TokenGrid]:
    """Sizes and tokens of an encoder's weights under our names; see `infer_student`.

    Args:
        frames: Frames of a clip, where the checkpoint's arguments do not say.
    """
    bare = replace(checkpoint, weights=weights)
    return infer_student(bare, heads=heads), infer_grid(bare, frames=frames)


def infer_grid(checkpoint: OfficialCheckpoint, *, frames: int = TokenGrid.frames) -> TokenGrid:
    """Read the token's size off the projection, the clip's off the arguments.

    Arguments that do not say mean `frames` of 224 x 224 pixels, as published.
    """
    weights = checkpoint.weights
    proj = weights.get("encoder.patch_embed.proj.weight", weights.get("patch_embed.proj.weight"))
    if proj is None or proj.ndim != 5:
        raise InputError(
            f"{checkpoint.path}: no tubelet projection in it; not a VideoMAE-family checkpoint"
        )
    side = _stored(checkpoint.args, "input_size") or TokenGrid.width
    try:
        return TokenGrid(
            frames=_stored(checkpoint.args, "num_frames") or frames,
            height=side,
            width=side,
            tubelet=proj.shape[2],
            patch=proj.shape[3],
        )
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from error


def require_own_positions(model: PretrainModel | Classifier) -> None:
    """Raise InputError when positions are not the published table: others compute their own."""
    if model.config.positions != "flat":
        raise InputError("positions are those of MVD, which other formats do not know")
    if model.trained.shape != model.grid.shape:
        raise InputError(
            f"positions are interpolated from {model.trained.shape} to {model.grid.shape}, "
            f"which other formats cannot say; use the checkpoint with smile_train.load"
        )


def require_one_layer(model: PretrainModel, where: str) -> None:
    """Raise InputError where a decoder is given several layers of the encoder."""
    if model.target_layers:
        raise InputError(
            f"the decoder is given layers {' '.join(map(str, model.target_layers))} of the "
            f"encoder, {where} has it given the last; export the encoder alone, or a hub folder"
        )


def load_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor], source: Path) -> None:
    """Load weights whose names and shapes must match exactly.

    Raises:
        InputError: Listing what is unknown, missing, or of another shape.
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
    path: Path, grid: TokenGrid | None = None, *, heads: int | None = None
) -> tuple[PretrainModel, OfficialCheckpoint]:
    """Build the pre-training model that a published checkpoint is of, with its weights.

    Args:
        grid: Token grid of the clips. Default: what the checkpoint says.
    """
    checkpoint = load_official(path)
    weights: dict[str, torch.Tensor] = {}
    for name, value in checkpoint.weights.items():
        weights |= split_bias(name, value)
    checkpoint = replace(checkpoint, weights=weights)
    config = infer_student(checkpoint, heads=heads)
    if "decoder.head.weight" not in checkpoint.weights:
        raise InputError(f"{path}: no decoder in it; not a pre-training checkpoint")
    require_sizes(config, checkpoint.weights, path, prefix="encoder.")
    target_dim = checkpoint.weights["decoder.head.weight"].shape[0]
    motion_dim, motion_depth = motion_sizes(weights, path)
    model = PretrainModel(
        config,
        grid or infer_grid(checkpoint),
        target_dim,
        motion_dim=motion_dim,
        motion_depth=motion_depth,
    )
    load_weights(model, checkpoint.weights, path)
    return model, checkpoint


def motion_sizes(weights: dict[str, torch.Tensor], source: Path) -> tuple[int, int]:
    """Read the sizes of a decoder of motion (TrackMAE) off the weights of a pre-training model.

    Returns:
        `motion_dim` and `motion_depth` of `PretrainModel`; zeros where there is no such decoder.

    Raises:
        InputError: Its weights are not those of one.
    """
    head = weights.get("tracker_decoder.head.weight")
    if head is None:
        return 0, 0
    try:
        if head.ndim != 2:
            raise ValueError(f"tracker_decoder.head.weight of {head.ndim} dimensions")
        depth = count_blocks(weights, "tracker_decoder.blocks.")
    except ValueError as error:
        raise InputError(f"{source}: {error}; another architecture?") from error
    return head.shape[0], depth


def save_official(
    path: Path, model: PretrainModel | Classifier, *, args: dict[str, Any], epoch: int
) -> None:
    """Write a checkpoint that the published code loads.

    Args:
        args: More entries for its `args`, beside those from which the model is built again.

    Raises:
        InputError: There is something at `path` already, and for frames that are not square, or a
            decoder that is given several layers, which the published code does not know.
    """
    config, grid = model.config, model.grid
    weights = model.state_dict()
    if isinstance(model, PretrainModel):
        require_one_layer(model, "the published format")
        weights = {n: v for n, v in weights.items() if not n.startswith("decoder.visible_head.")}
    if grid.height != grid.width:
        raise InputError(
            f"frames of {grid.height} x {grid.width}: the published format knows square ones only"
        )
    require_own_positions(model)
    if path.exists():
        raise InputError(f"{path}: exists; choose another --out")
    own = {
        "encoder_heads": config.heads,
        "decoder_heads": config.decoder_heads,
        "decoder_depth": config.decoder_depth,
        "nb_classes": getattr(getattr(model, "head", None), "out_features", 0),
        "num_frames": grid.frames,
        "input_size": grid.width,
    }
    data = {"model": weights, "epoch": epoch, "args": own | args}
    with replacing(path) as temporary:
        torch.save(data, temporary)


def _stored(args: dict[str, Any], name: str) -> int | None:
    """A positive whole number among a checkpoint's arguments, if it is there."""
    value = args.get(name)
    return value if isinstance(value, int) and value > 0 else None


def _usual_heads(width: int, published: dict[int, int]) -> int | None:
    if width in published:
        return published[width]
    return None if width % HEAD_WIDTH else width // HEAD_WIDTH
