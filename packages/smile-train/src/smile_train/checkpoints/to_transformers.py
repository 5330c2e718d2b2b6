"""To `transformers`: names of weights there and here; its VideoMAE encoder, pre-training model and
classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from smile_motion.errors import InputError
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD
from smile_motion.io.output_folders import new_folder

from smile_train.checkpoints.published import require_one_layer, require_own_positions
from smile_train.models.config import hidden_width
from smile_train.models.heads import Classifier
from smile_train.models.mae import PretrainModel

if TYPE_CHECKING:
    from transformers import (
        VideoMAEConfig,
        VideoMAEForPreTraining,
        VideoMAEForVideoClassification,
        VideoMAEModel,
    )

_OUTSIDE = {
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
"""Names of the encoder's weights, below `videomae.` where it is part of another model."""
_TOP = {
    "fc_norm.weight": "fc_norm.weight",
    "fc_norm.bias": "fc_norm.bias",
    "head.weight": "classifier.weight",
    "head.bias": "classifier.bias",
    "decoder.norm.weight": "decoder.norm.weight",
    "decoder.norm.bias": "decoder.norm.bias",
    "decoder.head.weight": "decoder.head.weight",
    "decoder.head.bias": "decoder.head.bias",
    "encoder_to_decoder.weight": "encoder_to_decoder.weight",
    "mask_token": "mask_token",
}
"""Names of weights of heads and of the pre-training model."""
_INSIDE = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
"""Names of a block's layers; each has a weight and a bias."""
_QKV = ("query", "key", "value")


def to_their_names(ours: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Rename weights; those of queries, keys and values become three.

    Args:
        prefix: Prefix of the encoder's names: `videomae.`, or empty in a `VideoMAEModel`.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, value in ours.items():
        if name in _OUTSIDE:
            renamed[prefix + _OUTSIDE[name]] = value
        elif name in _TOP:
            renamed[_TOP[name]] = value
        else:
            stack, number, inside = name.removeprefix("decoder.").split(".", 2)
            assert stack == "blocks", name
            layers = "decoder.decoder_layers" if name.startswith("decoder.") else None
            layer = f"{layers or f'{prefix}encoder.layer'}.{number}"
            renamed |= _block_weight(layer, inside, value)
    return renamed


def _block_weight(layer: str, inside: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    part, _, kind = inside.rpartition(".")
    if part in _INSIDE:
        return {f"{layer}.{_INSIDE[part]}.{kind}": value}
    attention = f"{layer}.attention.attention"
    if inside == "attn.qkv.weight":
        chunks = zip(_QKV, value.chunk(3), strict=True)
        return {f"{attention}.{name}.weight": chunk.contiguous() for name, chunk in chunks}
    which = "query" if inside == "attn.q_bias" else "value"
    return {f"{attention}.{which}.bias": value}


def from_their_names(theirs: dict[str, torch.Tensor], source: str) -> dict[str, torch.Tensor]:
    """Undo `to_their_names`; biases that are left out (`qv_bias=False`) become zeros.

    Raises:
        InputError: For a weight that is not VideoMAE's.
    """
    outside = {value: key for key, value in _OUTSIDE.items()}
    top = {value: key for key, value in _TOP.items()}
    inside = {value: key for key, value in _INSIDE.items()}
    ours: dict[str, torch.Tensor] = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for full, value in theirs.items():
        name = full.removeprefix("videomae.")
        if name in outside or full in top:
            ours[outside.get(name) or top[full]] = value
            continue
        stack = "decoder.blocks" if name.startswith("decoder.decoder_layers.") else "blocks"
        rest = name.removeprefix("decoder.decoder_layers.").removeprefix("encoder.layer.")
        number, _, within = rest.partition(".")
        part, _, kind = within.rpartition(".")
        if part in inside:
            ours[f"{stack}.{number}.{inside[part]}.{kind}"] = value
        elif within.startswith("attention.attention."):
            found = within.removeprefix("attention.attention.")
            found = {"q_bias": "query.bias", "v_bias": "value.bias"}.get(found, found)
            joined.setdefault(f"{stack}.{number}.attn", {})[found] = value
        else:
            raise InputError(f"{source}: {full}: not a weight of VideoMAE; another architecture?")
    for stem, parts in joined.items():
        weights = [parts[f"{name}.weight"] for name in _QKV]
        ours[f"{stem}.qkv.weight"] = torch.cat(weights)
        for letter, name in (("q", "query"), ("v", "value")):
            zero = torch.zeros(len(weights[0]))
            ours[f"{stem}.{letter}_bias"] = parts.get(f"{name}.bias", zero)
    return ours


def to_transformers(model: PretrainModel) -> VideoMAEModel:
    """Return the encoder as a `transformers.VideoMAEModel`; its outputs are equal to 1e-5.

    Raises:
        InputError: For frames that are not square, which transformers does not know.
    """
    from transformers import VideoMAEModel

    theirs = VideoMAEModel(_their_config(model, use_mean_pooling=False))
    weights = to_their_names(model.encoder.state_dict(), prefix="")
    theirs.load_state_dict(_as_released(weights, theirs))
    return theirs.eval()


def pretraining_to_transformers(model: PretrainModel) -> VideoMAEForPreTraining:
    """Return a pre-training model of pixels as `transformers.VideoMAEForPreTraining`.

    Its LayerNorm before the head is given our epsilon; saved and read again it has 1e-5, which
    their configuration cannot say: predictions then differ by some 1e-5 of their size.

    Raises:
        InputError: For models of features, whose head transformers cannot have.
    """
    from transformers import VideoMAEForPreTraining

    require_one_layer(model, "transformers")
    pixels = 3 * model.grid.token_pixels
    if model.target_dim != pixels:
        raise InputError(
            f"the model predicts {model.target_dim} values a token, transformers' pre-training "
            f"model {pixels}, those of pixels; export the encoder alone"
        )
    theirs = VideoMAEForPreTraining(_their_config(model, use_mean_pooling=False))
    weights = to_their_names(model.encoder.state_dict(), prefix="videomae.")
    decoder = model.decoder.state_dict()
    own = {f"decoder.{n}": v for n, v in decoder.items() if not n.startswith("visible_head.")}
    weights |= to_their_names(own, prefix="")
    weights["encoder_to_decoder.weight"] = model.state_dict()["encoder_to_decoder.weight"]
    weights["mask_token"] = model.mask_token
    theirs.load_state_dict(_as_released(weights, theirs))
    theirs.decoder.norm.eps = model.config.head_epsilon
    return theirs.eval()


def classifier_to_transformers(
    model: Classifier, classes: tuple[str, ...] = ()
) -> VideoMAEForVideoClassification:
    """Return a classifier as `transformers.VideoMAEForVideoClassification`.

    Args:
        classes: Their names. For the epsilon before the head, see `pretraining_to_transformers`.
    """
    from transformers import VideoMAEForVideoClassification

    names = classes or tuple(str(number) for number in range(model.head.out_features))
    config = _their_config(
        model,
        use_mean_pooling=True,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    theirs = VideoMAEForVideoClassification(config)
    theirs.load_state_dict(_as_released(to_their_names(model.state_dict(), "videomae."), theirs))
    theirs.fc_norm.eps = model.config.head_epsilon  # type: ignore[union-attr]
    return theirs.eval()


def _their_config(model: PretrainModel | Classifier, **more: Any) -> VideoMAEConfig:
    from transformers import VideoMAEConfig

    require_own_positions(model)
    config, grid = model.config, model.grid
    if grid.height != grid.width:
        raise InputError(
            f"frames of {grid.height} x {grid.width}: transformers' VideoMAE knows square ones only"
        )
    return VideoMAEConfig(
        image_size=grid.height,
        patch_size=grid.patch,
        num_frames=grid.frames,
        tubelet_size=grid.tubelet,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=hidden_width(config.width, config.mlp_ratio),
        decoder_hidden_size=config.decoder_width,
        decoder_num_hidden_layers=config.decoder_depth,
        decoder_num_attention_heads=config.decoder_heads,
        decoder_intermediate_size=hidden_width(config.decoder_width, config.mlp_ratio),
        layer_norm_eps=config.epsilon,
        **more,
    )


def _as_released(
    weights: dict[str, torch.Tensor], theirs: torch.nn.Module
) -> dict[str, torch.Tensor]:
    """Name the biases of queries and values as the installed release does."""
    own = theirs.state_dict()
    renamed = {}
    for name, value in weights.items():
        old = name.replace("query.bias", "q_bias").replace("value.bias", "v_bias")
        renamed[name if name in own or old not in own else old] = value
    return renamed


def export_transformers(
    model: PretrainModel | Classifier,
    out: Path,
    *,
    pretraining: bool = False,
    classes: tuple[str, ...] = (),
) -> None:
    """Write a folder that transformers' `from_pretrained` reads, with an image processor.

    Args:
        pretraining: The whole pre-training model, not its encoder alone.
        classes: Names of a classifier's classes.

    Raises:
        InputError: There is something at `out`, or the model cannot be theirs.
    """
    from transformers import VideoMAEImageProcessor
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # It is done in a moment.
    if isinstance(model, Classifier):
        theirs: Any = classifier_to_transformers(model, classes)
    else:
        theirs = pretraining_to_transformers(model) if pretraining else to_transformers(model)
    with new_folder(out) as temporary:
        theirs.save_pretrained(temporary)
        side = model.grid.height
        VideoMAEImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=list(IMAGENET_MEAN),
            image_std=list(IMAGENET_STD),
        ).save_pretrained(temporary)
