"""Published checkpoints that share the encoder, and where each keeps it.

Established from the published model code: VideoMAE, VideoMAE V2, SIGMA, MME, MVD, OmniMAE, UMT and
TrackMAE. MGMAE and SMILE publish VideoMAE's layout. Weights of another architecture are refused,
and so are names that a family is not known to have.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from smile_motion.errors import InputError

MOST_LISTED = 6
"""Names in an error message."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a kind of checkpoint names things."""

    name: str
    """For messages."""
    signs: tuple[str, ...]
    """Weights that only this kind has; one is enough."""
    prefix: str = ""
    """Before the encoder's names."""
    dropped: tuple[str, ...] = ()
    """What else it holds, by how the names begin: decoders, projections, buffers of losses."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Parts of names, after the prefix, that differ from ours."""
    positions: Literal["flat", "factorised"] = "flat"
    """Its table of positions."""
    table: str | None = None
    """Where the table is kept, if it is."""


FAMILIES = (
    Family(
        name="MVD",
        signs=("mask_token_img",),
        dropped=("mask_token_", "down_", "decoder_", "pos_embed_"),
        positions="factorised",
        table="pos_embed",
    ),
    Family(
        name="OmniMAE",
        signs=("trunk.patch_embed.proj.1.weight",),
        prefix="trunk.",
        # Its classifier comes after the final norm, not after one of its own.
        dropped=("trunk.decoder.", "trunk.mask_token", "head."),
        renamed=(("patch_embed.proj.1.", "patch_embed.proj."),),
        table="trunk.pos_embed",
    ),
    Family(
        name="SIGMA",
        # Prototypes where its loss has clusters; a projection where targets are learned.
        signs=("prototypes", "head.0.weight"),
        prefix="encoder.",
        dropped=(
            *("decoder.", "encoder_to_decoder.", "mask_token", "prototypes", "memory"),
            *("head.", "head2.", "mha.", "key.", "value.", "query."),
        ),
    ),
    Family(
        name="MME",
        signs=("encoder_to_decoder.0.weight",),
        prefix="encoder.",
        dropped=("decoder.", "encoder_to_decoder.", "mask_token"),
    ),
    Family(
        name="UMT",
        signs=("clip_decoder.0.head.weight",),
        prefix="encoder.",
        dropped=("clip_decoder.",),
    ),
    Family(
        name="TrackMAE",
        signs=("encoder_to_tracker.weight",),
        prefix="encoder.",
        dropped=(
            *("decoder.", "encoder_to_decoder.", "mask_token"),
            *("tracker_decoder.", "encoder_to_tracker."),
        ),
    ),
    Family(
        name="VideoMAE, VideoMAE V2, MGMAE or SMILE",
        signs=("encoder.patch_embed.proj.weight",),
        prefix="encoder.",
        dropped=("decoder.", "encoder_to_decoder.", "mask_token"),
    ),
    Family(name="a fine-tuned VideoMAE or UMT", signs=("fc_norm.weight",)),
    Family(name="a bare encoder", signs=("patch_embed.proj.weight",)),
)
"""The first whose sign is there is taken."""


def find_encoder(
    weights: dict[str, torch.Tensor], source: Path
) -> tuple[Family, dict[str, torch.Tensor]]:
    """Take the encoder, or the classifier, out of a published state dict.

    Returns:
        Its family, and weights under our names, without a prefix.

    Raises:
        InputError: The names are of no known family, or some have no place in it.
    """
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    family = next(
        (family for family in FAMILIES if any(sign in weights for sign in family.signs)), None
    )
    if family is None:
        known = ", ".join(family.name for family in FAMILIES[:-1])
        raise InputError(
            f"{source}: names of no known family ({', '.join(list(weights)[:3])}, …); expected "
            f"{known}"
        )
    found: dict[str, torch.Tensor] = {}
    unknown = []
    for name, value in weights.items():
        if name == family.table or name.startswith(family.dropped or ("\0",)):
            continue
        if not name.startswith(family.prefix) or not _is_ours(short := _rename(name, family)):
            unknown.append(name)
            continue
        found |= split_bias(short, value)
    if unknown:
        listed = ", ".join(unknown[:MOST_LISTED])
        more = f" and {len(unknown) - MOST_LISTED} more" if len(unknown) > MOST_LISTED else ""
        raise InputError(
            f"{source}: {family.name}, with weights that it is not known to have ({listed}{more}); "
            f"another version, or another architecture"
        )
    return family, found


def usual_frames(weights: dict[str, torch.Tensor]) -> int:
    """Frames of an encoder's clips where its checkpoint does not say: 16, but 8 where tokens are of
    one frame, which only UMT has. Weights are under our names."""
    projection = weights.get("patch_embed.proj.weight")
    single = projection is not None and projection.ndim == 5 and projection.shape[2] == 1
    return 8 if single else 16


def _rename(name: str, family: Family) -> str:
    short = name[len(family.prefix) :]
    for theirs, ours in family.renamed:
        short = short.replace(theirs, ours)
    return short


def _is_ours(name: str) -> bool:
    first = name.partition(".")[0]
    if first == "blocks":
        inside = name.split(".", 2)[2]
        return inside in _BLOCK
    return first in ("patch_embed", "norm", "fc_norm", "head")


_BLOCK = frozenset(
    {
        f"{part}.{kind}"
        for part in ("norm1", "norm2", "mlp.fc1", "mlp.fc2", "attn.proj")
        for kind in ("weight", "bias")
    }
    | {"attn.qkv.weight", "attn.qkv.bias", "attn.q_bias", "attn.v_bias"}
)
"""Weights of a block, in any of the families."""


def split_bias(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """A bias on queries, keys and values becomes two: one on keys shifts all of a query's scores
    alike, which the softmax does not see."""
    if not name.endswith("attn.qkv.bias"):
        return {name: value}
    query, _, of_value = value.chunk(3)
    stem = name.removesuffix("qkv.bias")
    return {f"{stem}q_bias": query.clone(), f"{stem}v_bias": of_value.clone()}
