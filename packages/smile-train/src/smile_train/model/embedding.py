"""From pixels to tokens."""

import torch
import torch.nn.functional as F
from smile_motion.tokens import TokenGrid
from torch import nn


def cut_cubes(frames: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """Cut a clip into its tokens' pixels.

    frames  (B, 3, T, H, W).
    returns (B, tokens, 3 * tubelet * patch * patch), colour first, in the grid's token order.
    """
    batch = frames.shape[0]
    t, h, w = grid.shape
    cubes = frames.reshape(batch, 3, t, grid.tubelet, h, grid.patch, w, grid.patch)
    return cubes.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, grid.tokens, -1)


def take(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Pick tokens by number: (B, N, D) and (B, n) int64 to (B, n, D); static shapes."""
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


class PatchEmbed(nn.Module):
    """Linear projection of cubes; the weight keeps the published Conv3d layout."""

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__()
        size = (grid.tubelet, grid.patch, grid.patch)
        self.proj = nn.Conv3d(3, width, kernel_size=size, stride=size)

    def forward(self, cubes: torch.Tensor) -> torch.Tensor:
        """(B, n, 3 * tubelet * patch * patch) to (B, n, width)."""
        return F.linear(cubes, self.proj.weight.flatten(1), self.proj.bias)
