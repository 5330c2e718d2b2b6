"""Where a token is: a fixed sine-cosine table over all tokens of a clip."""

import numpy as np
import torch
import torch.nn.functional as F
from smile_motion.tokens import TokenGrid


def sine_cosine(tokens: int, width: int) -> torch.Tensor:
    """One-dimensional sine-cosine table over the flat token index (VideoMAE; not factorised).

    returns (tokens, width) float32: sine in even columns, cosine in odd ones.
    """
    rate = np.power(10000.0, -2 * (np.arange(width) // 2) / width)
    angle = np.arange(tokens)[:, None] * rate
    table = np.where(np.arange(width) % 2 == 0, np.sin(angle), np.cos(angle))
    return torch.from_numpy(table).float()


def grid_positions(grid: TokenGrid, width: int, trained: TokenGrid | None = None) -> torch.Tensor:
    """Table of a grid's tokens, (tokens, width) float32.

    trained  the grid that weights were learned on, where that is another: its table, laid out in
             time, rows and columns, is interpolated linearly to the grid.
    """
    if trained is None or trained.shape == grid.shape:
        return sine_cosine(grid.tokens, width)
    table = sine_cosine(trained.tokens, width).view(*trained.shape, width).permute(3, 0, 1, 2)
    resized = F.interpolate(table[None], grid.shape, mode="trilinear")[0]
    return resized.permute(1, 2, 3, 0).reshape(grid.tokens, width).contiguous()
