"""Heads: classification, repetition counting, attentive probes."""

import math

import torch
from huggingface_hub import PyTorchModelHubMixin
from smile_motion.tokens import TokenGrid
from torch import nn
from torch.utils.checkpoint import checkpoint

from smile_train.models.config import StudentConfig
from smile_train.models.layers import (
    EPSILON,
    Block,
    PatchEmbed,
    cut_cubes,
    grid_positions,
    initialize,
    run_blocks,
)
from smile_train.models.loading import StrictLoading
from smile_train.models.mae import Encoder, hub_metadata


class Classifier(nn.Module, StrictLoading, PyTorchModelHubMixin, **hub_metadata()):
    """Encoder without its final norm, then mean pooling, `fc_norm` and `head` (VideoMAE).

    `save_pretrained`, `from_pretrained` and `push_to_hub` are huggingface_hub's.
    """

    positions: torch.Tensor

    def __init__(
        self,
        student: StudentConfig,
        grid: TokenGrid,
        classes: int,
        *,
        drop_path: float = 0.0,
        head_dropout: float = 0.0,
        head_scale: float = 0.001,
        trained: TokenGrid | None = None,
        class_names: tuple[str, ...] = (),
    ) -> None:
        """Build the model, its weights drawn from torch's generator.

        Args:
            class_names: By number, where they are known; `save_pretrained` keeps them.
        """
        super().__init__()
        self.config, self.grid = student, grid
        self.class_names = tuple(class_names)
        self.trained = trained or grid
        self.patch_embed = PatchEmbed(grid, student.width)
        table = grid_positions(grid, student.width, trained, student.positions)
        self.register_buffer("positions", table, persistent=False)
        rates = torch.linspace(0, drop_path, student.depth).tolist()
        self.blocks = nn.ModuleList(
            Block(student.width, student.heads, student.mlp_ratio, rate, student.epsilon)
            for rate in rates
        )
        self.fc_norm = nn.LayerNorm(student.width, eps=student.head_epsilon)
        self.head_dropout = nn.Dropout(head_dropout)
        self.head = nn.Linear(student.width, classes)
        self.apply(initialize)
        with torch.no_grad():
            self.head.weight.mul_(head_scale)

    def tokens(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8, or float in 0..1, to (B, N, width); no final norm."""
        tokens = self.patch_embed(cut_cubes(frames, self.grid)) + self.positions
        return run_blocks(self.blocks, tokens)

    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """Pooled and normalized: (B, T, H, W, 3) uint8, or float in 0..1, to (B, width)."""
        return self.fc_norm(self.tokens(frames).mean(1))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Class scores: (B, T, H, W, 3) uint8, or float in 0..1, to (B, classes)."""
        return self.head(self.head_dropout(self.features(frames)))


WIDTH = 256
"""Channels of the rhythm head. Ours."""
TYPICAL_RATE = 1 / 32
"""Repetitions a frame that an untrained head predicts. Ours."""


class RepetitionCounter(Classifier):
    """How many repetitions a frame, from how much the moments of a clip resemble each other.

    The published heads are for convolutional networks; this one is ours. Tokens are averaged over
    space; the slices' features and the matrix of their similarities (as in RepNet, CVPR 2020) go
    through two transformer layers to a rate for each slice.
    """

    def __init__(
        self,
        student: StudentConfig,
        grid: TokenGrid,
        *,
        drop_path: float = 0.0,
        trained: TokenGrid | None = None,
    ) -> None:
        super().__init__(student, grid, 1, drop_path=drop_path, trained=trained)
        self.head = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, math.log(TYPICAL_RATE))
        self.rhythm_input = nn.Linear(student.width + grid.slices, WIDTH)
        self.rhythm = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                WIDTH, 4, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
            ),
            2,
            enable_nested_tensor=False,
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Repetitions a frame: (B, T, H, W, 3) uint8, or float in 0..1, to (B, 1)."""
        slices = self.tokens(frames).unflatten(1, (self.grid.slices, -1)).mean(2)
        features = self.fc_norm(slices)
        normal = nn.functional.normalize(features - features.mean(1, keepdim=True), dim=-1)
        similarity = (normal @ normal.transpose(1, 2) * 10).softmax(-1)
        rhythm = self.rhythm(self.rhythm_input(torch.cat([features, similarity], -1)))
        return self.head(rhythm).clamp(-9, 1).exp().mean(1)


BLOCKS = 4
"""Blocks of a probe: the last one attends across, from a learned query. V-JEPA 2: 4."""


class AttentiveHead(nn.Module):
    """Self-attention over tokens, then one query's attention to them, then a linear classifier."""

    def __init__(self, width: int, heads: int, classes: int) -> None:
        from timm.layers.attention_pool import AttentionPoolLatent

        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, 4) for _ in range(BLOCKS - 1))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.pool = AttentionPoolLatent(width, num_heads=heads, mlp_ratio=4)
        self.linear = nn.Linear(width, classes)
        self.apply(initialize)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Class scores: (B, N, width) to (B, classes)."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.linear(self.pool(self.norm(tokens)))


class AttentiveProbes(nn.Module):
    """A frozen encoder under many heads, which learn at once from tokens computed once."""

    def __init__(
        self,
        config: StudentConfig,
        grid: TokenGrid,
        classes: int,
        probes: int,
        *,
        trained: TokenGrid | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.encoder = Encoder(config, grid, trained).requires_grad_(False)
        self.probes = nn.ModuleList(
            AttentiveHead(config.width, config.heads, classes) for _ in range(probes)
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8, or float in 0..1, to (B, probes, classes).

        While learning, a head's activations are computed again in the backward pass: only one
        head's are in memory at a time.
        """
        with torch.no_grad():
            tokens = self.encoder(frames)
        if not torch.is_grad_enabled():
            return torch.stack([probe(tokens) for probe in self.probes], 1)
        scores = [checkpoint(probe, tokens, use_reentrant=False) for probe in self.probes]
        return torch.stack(scores, 1)  # type: ignore[arg-type]
