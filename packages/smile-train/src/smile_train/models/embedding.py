"""From pixels to tokens."""

import torch
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.models.linear import linear

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def cut_cubes(frames: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """Cut a clip into its tokens' pixels; a move of memory, so best done while it is uint8.

    frames  (B, T, H, W, 3), any type.
    returns (B, tokens, tubelet * patch * patch * 3), pixel first (frame, row, column), then colour;
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
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def take(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Pick tokens by number: (B, N, D) and (B, n) int64 to (B, n, D); static shapes.

    Whole rows are copied: an elementwise gather takes several times as long on a CPU.
    """
    batch, count, _ = tokens.shape
    rows = index + torch.arange(batch, device=index.device).unsqueeze(1) * count
    return tokens.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, (batch, -1))


class PatchEmbed(nn.Module):
    """Standardises cubes and projects them; the weight keeps the published Conv3d layout."""

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
        standard = ((to_unit(cubes).unflatten(-1, (-1, 3)) - self.mean) / self.std).flatten(-2)
        weight = self.proj.weight.permute(0, 2, 3, 4, 1).flatten(1)
        return linear(standard, weight, self.proj.bias)
