"""Where a token is: a fixed sine-cosine table over all tokens of a clip."""

import numpy as np
import torch


def sine_cosine(tokens: int, width: int) -> torch.Tensor:
    """One-dimensional sine-cosine table over the flat token index (VideoMAE; not factorised).

    returns (tokens, width) float32: sine in even columns, cosine in odd ones.
    """
    rate = np.power(10000.0, -2 * (np.arange(width) // 2) / width)
    angle = np.arange(tokens)[:, None] * rate
    table = np.where(np.arange(width) % 2 == 0, np.sin(angle), np.cos(angle))
    return torch.from_numpy(table).float()
