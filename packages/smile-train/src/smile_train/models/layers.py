"""Transformer blocks whose parameters bear the published checkpoints' names."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from smile_train.models.config import hidden_width
from smile_train.models.linear import Linear, linear

EPSILON = 1e-6
"""Of LayerNorms. Official."""


class Attention(nn.Module):
    """Self-attention with biases on queries and values, none on keys (BEiT, VideoMAE)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over all tokens: (B, N, width) to the same."""
        batch, tokens, width = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = linear(x, self.qkv.weight, bias)
        q, k, v = qkv.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    """Two layers with an exact GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform each token: (..., width) to the same."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm block: attention, then MLP, each added to its input."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float,
        drop_path: float = 0.0,
        epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=epsilon)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = Mlp(width, hidden_width(width, mlp_ratio))
        self.drop_path = _make_drop_path(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, width) to the same."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def run_blocks(blocks: nn.ModuleList, x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
    """Run blocks one after the other; `again` keeps no activations and computes them twice."""
    for block in blocks:
        if again and torch.is_grad_enabled():
            x = checkpoint(block, x, use_reentrant=False)  # type: ignore[assignment]
        else:
            x = block(x)
    return x


def _make_drop_path(rate: float) -> nn.Module:
    if not rate:
        return nn.Identity()
    from timm.layers.drop import DropPath  # seconds to import, and pre-training has none

    return DropPath(rate)


def initialise(module: nn.Module) -> None:
    """Linear layers Xavier-uniform with zero bias, LayerNorm one and zero; apply to a stack."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
