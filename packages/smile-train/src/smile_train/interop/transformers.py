"""Exchange with `transformers`: its VideoMAE encoder, in and out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.model import PretrainModel, StudentConfig
from smile_train.model.embedding import IMAGENET_MEAN, IMAGENET_STD
from smile_train.model.pretrain_model import Encoder
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

    model.require_own_positions()
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


def from_transformers(source: VideoMAEModel | Path) -> tuple[Encoder, StudentConfig]:
    """Take the encoder out of a `transformers.VideoMAEModel`, or a folder that holds one.

    source  with its final norm, as pre-training models have it. Its decoder's sizes, which a folder
            of a pre-training model also holds, become those of the configuration.
    returns the encoder in evaluation mode, float32, and its sizes. Outputs are equal to 1e-5 where
            the source's `layer_norm_eps` is 1e-6; transformers' own default is 1e-12.
    Raises InputError when the folder is not read, or the model has no final norm or is of another
    architecture.
    """
    name = source if isinstance(source, Path) else type(source).__name__
    theirs = _open_folder(source) if isinstance(source, Path) else source
    config = theirs.config
    height, width = _sides(config.image_size)
    patch, patch_width = _sides(config.patch_size)
    faults = []
    if patch != patch_width:
        faults.append(f"patches of {patch} x {patch_width}")
    if theirs.layernorm is None:
        faults.append("no final norm (`use_mean_pooling`), as after fine-tuning")
    if config.hidden_act != "gelu":
        faults.append(f"hidden_act {config.hidden_act!r}")
    if config.num_channels != 3:
        faults.append(f"{config.num_channels} colour channels")
    if config.intermediate_size % config.hidden_size:
        faults.append(f"an MLP {config.intermediate_size} wide")
    if faults:
        raise InputError(f"{name}: {', '.join(faults)}; give a pre-trained VideoMAE as published")
    student = StudentConfig(
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        mlp_ratio=config.intermediate_size // config.hidden_size,
        decoder_width=config.decoder_hidden_size,
        decoder_depth=config.decoder_num_hidden_layers,
        decoder_heads=config.decoder_num_attention_heads,
    )
    grid = TokenGrid(
        frames=config.num_frames,
        height=height,
        width=width,
        tubelet=config.tubelet_size,
        patch=patch,
    )
    encoder = Encoder(student, grid)
    weights = theirs.state_dict()
    own = {}
    for parameter, value in encoder.state_dict().items():
        found = [weights[key] for key in _sources(parameter) if key in weights]
        if not found and not parameter.endswith(("q_bias", "v_bias")):
            raise InputError(f"{name}: no weights for {parameter}; another version's VideoMAE?")
        # `qv_bias=False` leaves the biases out, which is the same as zeros.
        own[parameter] = torch.cat(found) if found else torch.zeros_like(value)
    encoder.load_state_dict(own)
    return encoder.eval(), student


def _sources(name: str) -> list[str]:
    """Transformers' names of one of our parameters: those, joined, are its value."""
    if name in _OUTSIDE:
        return [_OUTSIDE[name]]
    _, number, inside = name.split(".", 2)
    layer = f"encoder.layer.{number}"
    if inside in _INSIDE:
        return [f"{layer}.{_INSIDE[inside]}"]
    attention = f"{layer}.attention.attention"
    if inside == "attn.qkv.weight":
        return [f"{attention}.{part}.weight" for part in _QKV]
    letter = inside.removeprefix("attn.")[0]
    part = "query" if letter == "q" else "value"
    return [f"{attention}.{part}.bias", f"{attention}.{letter}_bias"]


def _sides(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Height and width, of which transformers writes one where they are equal."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _open_folder(folder: Path) -> VideoMAEModel:
    from safetensors import SafetensorError
    from transformers import VideoMAEModel

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; give a folder that transformers wrote")
    try:
        loaded: Any = VideoMAEModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: not a VideoMAE that transformers reads ({reason})") from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{folder}: {len(missing)} weights are missing, {missing[0]} for one; "
            f"not the folder of a VideoMAE"
        )
    return model


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
