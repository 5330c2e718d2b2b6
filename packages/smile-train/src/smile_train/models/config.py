"""Sizes of students. Importable without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from smile_motion.errors import InputError

WIDEST = 16384
"""Channels; the widest vision transformer that is known has 6144. Ours."""
DEEPEST = 256
"""Blocks; the deepest that are known have 64. Ours."""
LARGEST_RATIO = 64
"""Hidden width over width. Ours."""

StudentName = Literal["mini", "tiny", "vit-s", "vit-b", "vit-l", "vit-h"]


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """Widths, depths and heads of encoder and decoder."""

    width: int
    """Encoder width."""
    depth: int
    """Encoder blocks."""
    heads: int
    """Encoder attention heads."""
    decoder_width: int
    """Decoder width."""
    decoder_depth: int = 4
    """Decoder blocks. Paper: 4."""
    decoder_heads: int
    """Decoder attention heads."""
    mlp_ratio: float = 4
    """Hidden width of an MLP over its width. Paper: 4; VideoMAE V2's ViT-g: 48 / 11."""
    positions: Literal["flat", "factorised"] = "flat"
    """Sine-cosine table over the flat token index (VideoMAE, SMILE), or over time, rows and columns
    (MVD)."""
    epsilon: float = 1e-6
    """Epsilon of LayerNorms of the encoder and of the decoder's blocks. Official: 1e-6."""
    head_epsilon: float = 1e-6
    """Epsilon of the LayerNorms before a head: `fc_norm`, the decoder's last. Official: 1e-6;
    transformers' port has 1e-5."""

    def __post_init__(self) -> None:
        for name, value, most in (
            ("width", self.width, WIDEST),
            ("depth", self.depth, DEEPEST),
            ("decoder_width", self.decoder_width, WIDEST),
            ("decoder_depth", self.decoder_depth, DEEPEST),
            ("mlp_ratio", self.mlp_ratio, LARGEST_RATIO),
        ):
            if not 0 <= value <= most:
                raise InputError(f"{name} {value}: expected at most {most}")
        for name, width, heads in (
            ("encoder", self.width, self.heads),
            ("decoder", self.decoder_width, self.decoder_heads),
        ):
            if heads < 1 or width < 1 or width % heads:
                raise InputError(
                    f"{name} width {width} cannot be split over {heads} heads; "
                    f"use a multiple of the heads"
                )


def require_layers(layers: Sequence[int], depth: int) -> None:
    """Raise InputError unless numbers of an encoder's blocks are ascending and end with the last.

    Args:
        layers: Counted from 1; none are sound, too.
        depth: Number of the encoder's blocks.
    """
    if not isinstance(layers, list | tuple):
        raise InputError(f"target_layers is {layers!r:.60}; expected a list of numbers of blocks")
    sound = all(isinstance(own, int) and own >= 1 for own in layers) and all(
        one < other for one, other in pairwise(layers)
    )
    if layers and not (sound and len(layers) > 1 and layers[-1] == depth):
        raise InputError(
            f"--target-layers {' '.join(map(str, layers))}: the student has {depth} blocks; give "
            f"two or more of their numbers, ascending, the last {depth}"
        )


def hidden_width(width: int, mlp_ratio: float) -> int:
    """Hidden width of an MLP: what is over a whole number is cut off, as the published code does,
    but not what a ratio such as 6144 / 1408 lacks for being stored in binary."""
    return int(width * mlp_ratio + 1e-6)


def ratio_of(hidden: int, width: int) -> float:
    """The `mlp_ratio` of an MLP; whole numbers as such."""
    return hidden / width if hidden % width else hidden // width


STUDENTS: dict[StudentName, StudentConfig] = {
    "mini": StudentConfig(
        width=128, depth=3, heads=4, decoder_width=64, decoder_depth=2, decoder_heads=2
    ),
    "tiny": StudentConfig(
        width=192, depth=4, heads=3, decoder_width=96, decoder_depth=2, decoder_heads=3
    ),
    "vit-s": StudentConfig(width=384, depth=12, heads=6, decoder_width=192, decoder_heads=3),
    "vit-b": StudentConfig(width=768, depth=12, heads=12, decoder_width=384, decoder_heads=6),
    "vit-l": StudentConfig(width=1024, depth=24, heads=16, decoder_width=512, decoder_heads=8),
    "vit-h": StudentConfig(width=1280, depth=32, heads=16, decoder_width=640, decoder_heads=8),
}
"""The published sizes; `mini` and `tiny` are ours, for a CPU."""
