"""Attentive probes: small transformers that read an encoder's tokens (V-JEPA 2)."""

import torch
from smile_motion.tokens import TokenGrid
from torch import nn
from torch.utils.checkpoint import checkpoint

from smile_train.models.config import StudentConfig
from smile_train.models.layers import EPSILON, Block, initialise
from smile_train.models.mae import Encoder

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
        self.apply(initialise)

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
