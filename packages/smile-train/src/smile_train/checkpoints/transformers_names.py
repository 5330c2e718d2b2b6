"""Names of weights in `transformers`' VideoMAE, and ours."""

from __future__ import annotations

import torch
from smile_motion.errors import InputError

_OUTSIDE = {
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
"""Of the encoder, below `videomae.` where it is part of another model."""
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
"""Of heads and the pre-training model."""
_INSIDE = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
"""Of a block; each has a weight and a bias."""
_QKV = ("query", "key", "value")


def to_their_names(ours: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Rename weights; those of queries, keys and values become three.

    Args:
        prefix: Before the encoder's names: `videomae.`, or nothing in a `VideoMAEModel`.
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
