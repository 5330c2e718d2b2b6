"""Where a token is: a fixed sine-cosine table over all tokens of a clip."""

from typing import Literal

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


def factorised_sine_cosine(grid: TokenGrid, width: int) -> torch.Tensor:
    """Table of time, columns and rows (MVD, from MAE's): a quarter of the channels is for time.

    returns (tokens, width) float32: time, then column, then row, each its sines, then its cosines.
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

    trained  the grid that weights were learned on, where that is another: its table, laid out in
             time, rows and columns, is interpolated linearly to the grid.
    kind     see `StudentConfig.positions`.
    """

    def whole(grid: TokenGrid) -> torch.Tensor:
        if kind == "flat":
            return sine_cosine(grid.tokens, width)
        return factorised_sine_cosine(grid, width)

    if trained is None or trained.shape == grid.shape:
        return whole(grid)
    table = whole(trained).view(*trained.shape, width).permute(3, 0, 1, 2)
    resized = F.interpolate(table[None], grid.shape, mode="trilinear")[0]
    return resized.permute(1, 2, 3, 0).reshape(grid.tokens, width).contiguous()
