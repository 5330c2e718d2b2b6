"""Linear layers, patch embedding, positions and transformer blocks, named as in the published
checkpoints.

Torch multiplies float32 matrices on x86 processors by MKL, which keeps to AVX2 on processors that
are not Intel's: oneDNN takes half the time with AVX-512, and 0.8 of it with AVX2
(docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD
from smile_motion.tokens import TokenGrid
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.utils.checkpoint import checkpoint

from smile_train.models.config import hidden_width

ONE_DNN = (
    torch.backends.mkl.is_available()
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
"""Whether torch was built with both MKL and oneDNN."""
WIDE = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
"""Whether the processor has AVX-512; with AVX2 alone MKL computes gradients of weights faster."""


class Linear(nn.Linear):
    """`nn.Linear`, faster in float32 on a CPU."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        return linear(input, self.weight, self.bias)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`F.linear`, faster in float32 on a CPU: (…, in), (out, in) and (out,) to (…, out)."""
    if (
        ONE_DNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and type(x) is torch.Tensor
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
    ):
        return _OneDnnLinear.apply(x, weight, bias)
    return F.linear(x, weight, bias)


def quicken(module: Any) -> Any:
    """Make the linear layers of another library's frozen model `Linear`; returns the model."""
    for part in module.modules():
        if type(part) in (nn.Linear, NonDynamicallyQuantizableLinear):
            part.__class__ = Linear
    return module


def _multiply(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """(n, in) and (out, in) to (n, out)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _OneDnnLinear(torch.autograd.Function):
    """The layer and its gradients as three products."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        rows = gradients[0].flatten(0, -2)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _multiply(rows, weight.t()).view_as(x)
        if ctx.needs_input_grad[1]:
            inputs = x.flatten(0, -2)
            of_weight = _multiply(rows.t(), inputs.t()) if WIDE else rows.t() @ inputs
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_x, of_weight, of_bias


EPSILON = 1e-6
"""Epsilon of LayerNorms. Official."""


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


def run_blocks(
    blocks: Iterable[nn.Module], x: torch.Tensor, *, again: bool = False
) -> torch.Tensor:
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


def initialize(module: nn.Module) -> None:
    """Linear layers Xavier-uniform with zero bias, LayerNorm one and zero; apply to a stack."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def cut_cubes(frames: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """Cut a clip into its tokens' pixels; a move of memory, so best done while it is uint8.

    Args:
        frames: (B, T, H, W, 3), any type.

    Returns:
        (B, tokens, tubelet * patch * patch * 3), pixel first (frame, row, column), then color;
        tokens in the grid's order.
    """
    t, h, w = grid.shape
    parts = frames.reshape(-1, t, grid.tubelet, h, grid.patch, w, grid.patch * 3)
    return parts.permute(0, 1, 3, 5, 2, 4, 6).reshape(frames.shape[0], grid.tokens, -1)


def join_cubes(cubes: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """Undo `cut_cubes`: (B, tokens, P * 3) to (B, T, H, W, 3)."""
    t, h, w = grid.shape
    parts = cubes.reshape(-1, t, h, w, grid.tubelet, grid.patch, grid.patch * 3)
    frames = parts.permute(0, 1, 4, 2, 5, 3, 6)
    return frames.reshape(len(cubes), grid.frames, grid.height, grid.width, 3)


def to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 to float32 in 0..1; floats are taken to be in 0..1 already."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels


def take(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Pick tokens by number: (B, N, D) and (B, n) int64 to (B, n, D); static shapes.

    Whole rows are copied: an elementwise gather takes several times as long on a CPU.
    """
    batch, count, _ = tokens.shape
    rows = index + torch.arange(batch, device=index.device).unsqueeze(1) * count
    return tokens.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, (batch, -1))


class PatchEmbed(nn.Module):
    """Standardizes cubes and projects them; the weight keeps the published Conv3d layout."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__()
        size = (grid.tubelet, grid.patch, grid.patch)
        self.proj = nn.Conv3d(3, width, kernel_size=size, stride=size)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD), persistent=False)

    def forward(self, cubes: torch.Tensor) -> torch.Tensor:
        """(B, n, P * 3) uint8, or float in 0..1, as `cut_cubes`, to (B, n, width)."""
        pixels = cubes.shape[-1] // 3
        # Repeated, since rows of three values take three times as long.
        mean, std = self.mean.repeat(pixels), self.std.repeat(pixels)
        standard = torch.sub(to_unit(cubes), mean).div_(std)
        weight = self.proj.weight.permute(0, 2, 3, 4, 1).flatten(1)
        return linear(standard, weight, self.proj.bias)


def sine_cosine(tokens: int, width: int) -> torch.Tensor:
    """One-dimensional sine-cosine table over the flat token index (VideoMAE; not factorized).

    Returns:
        (tokens, width) float32: sine in even columns, cosine in odd ones.
    """
    rate = np.power(10000.0, -2 * (np.arange(width) // 2) / width)
    angle = np.arange(tokens)[:, None] * rate
    table = np.where(np.arange(width) % 2 == 0, np.sin(angle), np.cos(angle))
    return torch.from_numpy(table).float()


def factorized_sine_cosine(grid: TokenGrid, width: int) -> torch.Tensor:
    """Table of time, columns and rows (MVD, from MAE's): a quarter of the channels is for time.

    Returns:
        (tokens, width) float32: time, then column, then row, each its sines, then its cosines.
    """

    def table(places: np.ndarray, channels: int) -> np.ndarray:
        rate = 10000.0 ** (-np.arange(channels // 2) / (channels / 2))
        angle = places.reshape(-1, 1) * rate
        return np.concatenate([np.sin(angle), np.cos(angle)], 1)

    time, row, column = np.indices(grid.shape)
    spatial = width // 4 * 3
    parts = (
        table(time, width // 4),
        table(column, spatial // 2),
        table(row, spatial // 2),
    )
    return torch.from_numpy(np.concatenate(parts, 1)).float()


def grid_positions(
    grid: TokenGrid,
    width: int,
    trained: TokenGrid | None = None,
    kind: Literal["flat", "factorised"] = "flat",
) -> torch.Tensor:
    """Table of a grid's tokens, (tokens, width) float32.

    Args:
        trained: The grid that weights were learned on, where that is another: its table, laid out
            in time, rows and columns, is interpolated linearly to the grid.
        kind: See `StudentConfig.positions`.
    """

    def whole(grid: TokenGrid) -> torch.Tensor:
        if kind == "flat":
            return sine_cosine(grid.tokens, width)
        return factorized_sine_cosine(grid, width)

    if trained is None or trained.shape == grid.shape:
        return whole(grid)
    table = whole(trained).view(*trained.shape, width).permute(3, 0, 1, 2)
    resized = F.interpolate(table[None], grid.shape, mode="trilinear")[0]
    return resized.permute(1, 2, 3, 0).reshape(grid.tokens, width).contiguous()
