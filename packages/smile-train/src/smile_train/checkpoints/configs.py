"""Model configurations from other sources: known fields, of their types, within bounds.

A configuration can name code, devices and other repositories. Only the fields below are looked at,
and what they say of sizes must be that of the weights beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from annotated_types import Interval, Len
from smile_motion.errors import InputError
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD
from smile_motion.io.schema import parse, read_record
from smile_motion.tokens import TokenGrid

from smile_train.models.config import DEEPEST, StudentConfig, hidden_width

LARGEST_CONFIG = 16 << 20
"""Bytes; one with 30,000 names of classes has two million."""
MOST_CLASSES = 100_000
Kind = TypeVar("Kind")
Side = Annotated[int, Interval(ge=1, le=8192)]
Sides = Side | tuple[Side, Side]
Width = Annotated[int, Interval(ge=1, le=1 << 16)]
Count = Annotated[int, Interval(ge=1, le=1024)]
Epsilon = Annotated[float, Interval(gt=0, lt=1)]
Names = Annotated[dict[str, Annotated[str, Len(0, 1000)]], Len(0, MOST_CLASSES)]
_REMEDY = "get it again"


@dataclass(frozen=True, kw_only=True)
class VideoMAESizes:
    """What is read of transformers' VideoMAE; fields and defaults as there."""

    image_size: Sides = 224
    patch_size: Sides = 16
    num_channels: Count = 3
    num_frames: Count = 16
    tubelet_size: Count = 2
    hidden_size: Width = 768
    num_hidden_layers: Count = 12
    num_attention_heads: Count = 12
    intermediate_size: Width = 3072
    hidden_act: Annotated[str, Len(0, 40)] = "gelu"
    layer_norm_eps: Epsilon = 1e-12
    decoder_num_attention_heads: Count = 6
    decoder_hidden_size: Width = 384
    decoder_num_hidden_layers: Annotated[int, Interval(ge=0, le=1024)] = 4
    decoder_intermediate_size: Width = 1536
    id2label: Names = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VideoMAEv2Sizes:
    """What is read of `model_config` in VideoMAE V2's folders on the hub; fields as there."""

    img_size: Side = 224
    patch_size: Side = 16
    in_chans: Count = 3
    embed_dim: Width = 768
    depth: Count = 12
    num_heads: Count = 12
    mlp_ratio: Annotated[float, Interval(gt=0, le=64)] = 4
    layer_norm_eps: Epsilon = 1e-6
    tubelet_size: Count = 2
    num_frames: Count = 16
    use_learnable_pos_emb: bool = False
    cos_attn: bool = False
    init_values: float | None = 0


TowerName = Literal["vjepa2", "vivit", "timesformer"]
"""`model_type` in configurations of transformers' video encoders of other architectures."""
TOWERS: dict[TowerName, str] = {
    "vjepa2": "V-JEPA 2",
    "vivit": "ViViT",
    "timesformer": "TimeSformer",
}
"""As their papers call them."""


def tower_of(config: Mapping[str, Any]) -> TowerName | None:
    """Which of these architectures a configuration is of; None for any other."""
    return next((name for name in TOWERS if config.get("model_type") == name), None)


@dataclass(frozen=True, kw_only=True)
class _TowerSizes:
    """What transformers' video encoders have in common; fields and defaults as there."""

    hidden_size: Width = 768
    num_hidden_layers: Annotated[int, Interval(ge=1, le=512)] = 12
    num_attention_heads: Count = 12
    hidden_act: Annotated[str, Len(0, 40)] = "gelu"
    layer_norm_eps: Epsilon = 1e-6
    qkv_bias: bool = True


@dataclass(frozen=True, kw_only=True)
class VJEPA2Sizes(_TowerSizes):
    """What is read of transformers' V-JEPA 2; fields and defaults as there."""

    hidden_size: Width = 1024
    num_hidden_layers: Annotated[int, Interval(ge=1, le=512)] = 24
    num_attention_heads: Count = 16
    patch_size: Side = 16
    crop_size: Side = 256
    frames_per_clip: Count = 64
    tubelet_size: Count = 2
    in_chans: Literal[3] = 3
    mlp_ratio: Annotated[float, Interval(gt=0, le=64)] = 4.0


@dataclass(frozen=True, kw_only=True)
class VivitSizes(_TowerSizes):
    """What is read of transformers' ViViT; fields and defaults as there."""

    image_size: Sides = 224
    num_frames: Count = 32
    tubelet_size: tuple[Count, Side, Side] = (2, 16, 16)
    num_channels: Literal[3] = 3
    intermediate_size: Width = 3072
    hidden_act: Annotated[str, Len(0, 40)] = "gelu_fast"


@dataclass(frozen=True, kw_only=True)
class TimesformerSizes(_TowerSizes):
    """What is read of transformers' TimeSformer; fields and defaults as there."""

    image_size: Sides = 224
    patch_size: Sides = 16
    num_frames: Count = 8
    num_channels: Literal[3] = 3
    intermediate_size: Width = 3072
    attention_type: Literal["divided_space_time", "joint_space_time"] = "divided_space_time"


Channel = Annotated[float, Interval(ge=-1000, le=1000)]
Deviation = Annotated[float, Interval(gt=0, le=1000)]


@dataclass(frozen=True, kw_only=True)
class PixelSettings:
    """What is read of transformers' processors: pixel, 0..255, times a factor, perhaps less one,
    less the mean, through the deviation."""

    do_rescale: bool = True
    rescale_factor: Annotated[float, Interval(gt=0, le=1000)] = 1 / 255
    offset: bool = False
    do_normalize: bool = True
    image_mean: Channel | tuple[Channel, Channel, Channel] = IMAGENET_MEAN
    image_std: Deviation | tuple[Deviation, Deviation, Deviation] = IMAGENET_STD

    def of_unit(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation that do all of this to a pixel in 0..1."""
        factor = 255 * (self.rescale_factor if self.do_rescale else 1)
        less = float(self.offset and self.do_rescale)
        mean = _three(self.image_mean) if self.do_normalize else (0.0,) * 3
        std = _three(self.image_std) if self.do_normalize else (1.0,) * 3
        return tuple((less + m) / factor for m in mean), tuple(s / factor for s in std)


def _three(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * 3


@dataclass(frozen=True, kw_only=True)
class OwnSizes:
    """What our own checkpoints and folders say of a model."""

    student: StudentConfig
    grid: TokenGrid
    trained: TokenGrid | None = None
    target_dim: Annotated[int, Interval(ge=1, le=1 << 20)] | None = None
    classes: Annotated[tuple[str, ...], Len(0, MOST_CLASSES)] = ()
    target_layers: Annotated[
        tuple[Annotated[int, Interval(ge=1, le=DEEPEST)], ...], Len(0, DEEPEST)
    ] = ()

    @classmethod
    def read(cls, config: Mapping[str, Any], source: Path) -> OwnSizes:
        """Take them from a checkpoint's configuration, or from that of a folder for the hub."""
        given = {
            "student": config.get("student_config", config.get("student")),
            "grid": config.get("grid"),
            "trained": config.get("trained_grid", config.get("trained")),
            "target_dim": config.get("target_dim"),
            "classes": config.get("class_names", config.get("classes", ())),
            "target_layers": config.get("target_layers", ()),
        }
        return take_fields(cls, given, source)


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration.

    Raises:
        InputError: It is not a JSON object, or larger than any.
    """
    if not path.is_file():
        raise InputError(f"{path.parent}: no {path.name}; give a whole folder of a model")
    return read_record(path, dict[str, Any], remedy=_REMEDY, largest=LARGEST_CONFIG)


def take_fields(kind: type[Kind], given: Mapping[str, Any], source: Path) -> Kind:
    """Make a dataclass of the entries that are its fields; no other entry is looked at.

    Raises:
        InputError: One is of another type, or out of its range.
    """
    return parse(dict(given), kind, source=str(source), remedy=_REMEDY, unknown="ignore")


def require_sizes(
    student: StudentConfig, weights: Mapping[str, torch.Tensor], source: Path, *, prefix: str = ""
) -> None:
    """Raise InputError where sizes are not those of the weights, before anything is built of them.

    Args:
        prefix: Prefix of the encoder's names; `encoder.` for a pre-training model, whose decoder
            is looked at as well.
    """
    stacks = [("", prefix, student.width, student.depth)]
    if f"{prefix}patch_embed.proj.weight" in weights and prefix:
        stacks.append(("decoder ", "decoder.", student.decoder_width, student.decoder_depth))
    for name, start, width, depth in stacks:
        try:
            found = count_blocks(weights, f"{start}blocks.")
        except ValueError as error:
            raise InputError(f"{source}: {error}; another architecture?") from error
        if found != depth:
            raise InputError(
                f"{source}: its configuration says {name}depth {depth}, its weights are of {found} "
                f"blocks; get both again from one place"
            )
        first = weights.get(f"{start}blocks.0.mlp.fc1.weight")
        expected = (hidden_width(width, student.mlp_ratio), width)
        if first is not None and tuple(first.shape) != expected:
            raise InputError(
                f"{source}: its configuration says an MLP of {' x '.join(map(str, expected))}, its "
                f"weights have {' x '.join(map(str, first.shape))}; get both again from one place"
            )
        held = sum(w.numel() for n, w in weights.items() if n.startswith(f"{start}blocks."))
        asked = depth * width * (4 * width + 2 * hidden_width(width, student.mlp_ratio))
        if held < asked:
            raise InputError(
                f"{source}: {name}blocks of width {width} and depth {depth} have {asked} weights, "
                f"there are {held}; get its configuration and its weights again from one place"
            )


def count_blocks(names: Mapping[str, Any], prefix: str) -> int:
    """Blocks of a stack, which are numbered from 0 without gaps; 0 where none is.

    Raises:
        ValueError: Numbers are left out: names alone would make a stack of any depth.
    """
    numbers = set()
    for name in names:
        if name.startswith(prefix):
            number = re.match(r"(\d{1,6})\.", name[len(prefix) :])
            if number is None:
                raise ValueError(f"no number in {name!r:.80}")
            numbers.add(int(number[1]))
    if numbers and max(numbers) + 1 != len(numbers):
        raise ValueError(f"{len(numbers)} blocks at {prefix}, the last of number {max(numbers)}")
    return len(numbers)
