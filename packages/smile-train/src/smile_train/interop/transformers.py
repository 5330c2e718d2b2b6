"""Exchange with `transformers`: its VideoMAE encoder, in and out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from smile_motion.errors import InputError

from smile_train.model import PretrainModel
from smile_train.model.embedding import IMAGENET_MEAN, IMAGENET_STD
from smile_train.model.transformer import EPSILON

if TYPE_CHECKING:
    from transformers import VideoMAEModel

_OUTSIDE = {
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_INSIDE = {
    "norm1.weight": "layernorm_before.weight",
    "norm1.bias": "layernorm_before.bias",
    "attn.proj.weight": "attention.output.dense.weight",
    "attn.proj.bias": "attention.output.dense.bias",
    "norm2.weight": "layernorm_after.weight",
    "norm2.bias": "layernorm_after.bias",
    "mlp.fc1.weight": "intermediate.dense.weight",
    "mlp.fc1.bias": "intermediate.dense.bias",
    "mlp.fc2.weight": "output.dense.weight",
    "mlp.fc2.bias": "output.dense.bias",
}
_QKV = ("query", "key", "value")


def to_transformers(model: PretrainModel) -> VideoMAEModel:
    """Return the encoder as a `transformers.VideoMAEModel`; its outputs are equal to 1e-5.

    Raises InputError for frames that are not square, which transformers does not know.
    """
    from transformers import VideoMAEConfig, VideoMAEModel

    config, grid = model.config, model.grid
    if grid.height != grid.width:
        raise InputError(
            f"frames of {grid.height} x {grid.width}: transformers' VideoMAE knows square ones only"
        )
    theirs = VideoMAEModel(
        VideoMAEConfig(
            image_size=grid.height,
            patch_size=grid.patch,
            num_frames=grid.frames,
            tubelet_size=grid.tubelet,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=config.width * config.mlp_ratio,
            decoder_hidden_size=config.decoder_width,
            decoder_num_hidden_layers=config.decoder_depth,
            decoder_num_attention_heads=config.decoder_heads,
            decoder_intermediate_size=config.decoder_width * config.mlp_ratio,
            layer_norm_eps=EPSILON,
            use_mean_pooling=False,
        )
    )
    theirs.load_state_dict(_renamed(model.encoder.state_dict(), theirs.state_dict()))
    return theirs.eval()


def _renamed(
    ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Our encoder's weights under transformers' names."""
    renamed = {}
    for name, value in ours.items():
        if name in _OUTSIDE:
            renamed[_OUTSIDE[name]] = value
            continue
        _, number, inside = name.split(".", 2)
        layer = f"encoder.layer.{number}"
        if inside in _INSIDE:
            renamed[f"{layer}.{_INSIDE[inside]}"] = value
        elif inside == "attn.qkv.weight":
            for part, weight in zip(_QKV, value.chunk(3), strict=True):
                renamed[f"{layer}.attention.attention.{part}.weight"] = weight
        else:  # attn.q_bias or attn.v_bias, which its releases name in two ways
            letter = inside.removeprefix("attn.")[0]
            new = f"{layer}.attention.attention.{'query' if letter == 'q' else 'value'}.bias"
            old = f"{layer}.attention.attention.{letter}_bias"
            renamed[new if new in theirs else old] = value
    return renamed


def export_transformers(model: PretrainModel, out: Path) -> None:
    """Write the encoder as a folder that `VideoMAEModel.from_pretrained` reads.

    An image processor with the right mean, deviation and size goes with it.
    """
    from transformers import VideoMAEImageProcessor

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is not empty; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        to_transformers(model).save_pretrained(temporary)
        side = model.grid.height
        VideoMAEImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=list(IMAGENET_MEAN),
            image_std=list(IMAGENET_STD),
        ).save_pretrained(temporary)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
