"""What the student reconstructs, and the loss."""

from typing import Literal

import torch
from smile_motion.tokens import TokenGrid

from smile_train.model.embedding import cut_cubes

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EPSILON = 1e-6
"""Added to deviations. Official."""

Normalisation = Literal["clip-channel", "token", "none"]


def to_unit(frames: torch.Tensor) -> torch.Tensor:
    """(B, T, H, W, 3) uint8 to (B, 3, T, H, W) float32 in 0..1."""
    return frames.permute(0, 4, 1, 2, 3).float().div_(255)


def standardise(
    unit: torch.Tensor,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> torch.Tensor:
    """Normalise each colour of (B, 3, T, H, W) in 0..1."""
    shape = (1, 3, 1, 1, 1)
    return (unit - unit.new_tensor(mean).view(shape)) / unit.new_tensor(std).view(shape)


def pixel_statistics(unit: torch.Tensor, grid: TokenGrid) -> tuple[torch.Tensor, ...]:
    """Cubes of a clip with the mean and deviation of each token and colour.

    unit    (B, 3, T, H, W) in 0..1.
    returns cubes (B, N, 3, P), mean and deviation (B, N, 3, 1), P pixels a token; deviation from
            the unbiased variance, plus epsilon.
    """
    cubes = cut_cubes(unit, grid).unflatten(-1, (3, -1))
    mean = cubes.mean(-1, keepdim=True)
    return cubes, mean, cubes.var(-1, unbiased=True, keepdim=True).sqrt() + EPSILON


def pixel_targets(unit: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """Pixels of each token, normalised per colour (VideoMAE; SMILE, Table 7).

    unit    (B, 3, T, H, W) in 0..1.
    returns (B, N, 3 * P) in the published order: pixel first (frame, row, column), then colour.
    """
    cubes, mean, deviation = pixel_statistics(unit, grid)
    return ((cubes - mean) / deviation).transpose(-1, -2).flatten(2)


def restore_pixels(predicted: torch.Tensor, unit: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """Turn normalised pixels back into a clip with the true mean and contrast of each token.

    predicted (B, N, 3 * P) as `pixel_targets`; unit (B, 3, T, H, W), the true clip.
    returns   (B, 3, T, H, W) in 0..1.
    """
    _, mean, deviation = pixel_statistics(unit, grid)
    cubes = predicted.unflatten(-1, (-1, 3)).transpose(-1, -2) * deviation + mean
    t, h, w = grid.shape
    cubes = cubes.reshape(-1, t, h, w, 3, grid.tubelet, grid.patch, grid.patch)
    clip = cubes.permute(0, 4, 1, 5, 2, 6, 3, 7)
    return clip.reshape(-1, 3, grid.frames, grid.height, grid.width).clamp(0, 1)


def normalise_targets(tokens: torch.Tensor, how: Normalisation = "clip-channel") -> torch.Tensor:
    """Normalise teacher tokens (B, N, D).

    clip-channel  each channel over all tokens of the clip, masked and visible (SMILE).
    token         each token over its channels.
    none          as they are.
    """
    if how == "none":
        return tokens
    over = 1 if how == "clip-channel" else -1
    mean = tokens.mean(over, keepdim=True)
    deviation = tokens.var(over, unbiased=True, keepdim=True).sqrt()
    return (tokens - mean) / (deviation + EPSILON)


def mean_squared_error(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over masked tokens and channels, in float32: scalar."""
    return (predicted.float() - target.float()).square().mean()
