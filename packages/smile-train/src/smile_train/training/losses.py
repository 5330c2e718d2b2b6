"""Targets of reconstruction, and the loss."""

from collections.abc import Callable
from typing import Literal

import torch
from smile_motion.tokens import TokenGrid

from smile_train.config.pretrain import PretrainConfig
from smile_train.models.layers import cut_cubes, join_cubes, take, to_unit
from smile_train.teachers import Teacher
from smile_train.training.motion_loss import motion_loss, motion_targets


def teach(
    frames: torch.Tensor, teacher: Teacher | None, config: PretrainConfig
) -> torch.Tensor | None:
    """The teacher's normalized tokens, (B, T, H, W, 3) uint8 to (B, N, D); none for pixels."""
    return (
        None
        if teacher is None
        else normalize_targets(teacher(frames, config.grid), config.target_norm)
    )


def masked_loss(
    student: torch.nn.Module,
    frames: torch.Tensor,
    visible: torch.Tensor,
    masked: torch.Tensor,
    features: torch.Tensor | None,
    config: PretrainConfig,
    *,
    motion: torch.Tensor | None = None,
    note: Callable[[torch.Tensor, torch.Tensor], None] = lambda loss, known: None,
) -> torch.Tensor:
    """Loss over a batch under all its masks.

    Args:
        frames: (B, T, H, W, 3) uint8.
        visible: (B, M, Nv) and masked (B, M, Nm) int64: token numbers of M masks a clip.
        features: (B, N, D) normalized teacher tokens; none for the pixel target.
        motion: (B, N, 2 * points) displacements, pixels, NaN where unknown; for a student that
            predicts them, whose loss is added with its weight.
        note: Callback with the loss of motion and whether any was known, scalars on the device.
    """
    masks = visible.shape[1]
    visible, masked = visible.flatten(0, 1), masked.flatten(0, 1)
    if masks > 1:
        frames = frames.repeat_interleave(masks, 0)
        features = None if features is None else features.repeat_interleave(masks, 0)
    with torch.no_grad():
        if features is None:
            target = pixel_targets(frames, config.grid, masked)
        else:
            target = take(features, masked)
    if motion is None:
        return mean_squared_error(student(frames, visible, masked), target)
    with torch.no_grad():
        moved = take(motion.repeat_interleave(masks, 0), masked)
        moved, known = motion_targets(moved, config.motion_norm, config.patch)
    predicted, of_motion = student(frames, visible, masked)
    loss, any_known = motion_loss(of_motion, moved, known)
    note(loss.detach(), any_known)
    return mean_squared_error(predicted, target) + config.motion_factor * loss


EPSILON = 1e-6
"""Added to deviations. Official."""

Normalization = Literal["clip-channel", "token", "none"]


def pixel_statistics(cubes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and deviation of each token and color.

    Args:
        cubes: (B, n, P * 3) as `cut_cubes`.

    Returns:
        Centered cubes (B, n, P, 3), mean and deviation (B, n, 1, 3), all of pixels in 0..1;
        deviation from the unbiased variance, plus epsilon.
    """
    unit = to_unit(cubes).unflatten(-1, (-1, 3))
    mean = unit.mean(-2, keepdim=True)
    centered = unit - mean
    # Two sums over rows of memory: `torch.var` takes an element at a time on a CPU.
    variance = centered.square().sum(-2, keepdim=True) / (unit.shape[-2] - 1)
    return centered, mean, variance.sqrt() + EPSILON


def pixel_targets(
    frames: torch.Tensor, grid: TokenGrid, index: torch.Tensor | None = None
) -> torch.Tensor:
    """Pixels of tokens, normalized per token and color (VideoMAE; SMILE, Table 7).

    Args:
        frames: (B, T, H, W, 3) uint8, or float in 0..1.
        index: (B, n) int64 token numbers; all tokens by default.

    Returns:
        (B, n, P * 3) float32, pixel first (frame, row, column), then color, as published.
    """
    cubes = cut_cubes(frames, grid)
    centered, _, deviation = pixel_statistics(cubes if index is None else take(cubes, index))
    return (centered / deviation).flatten(2)


def restore_pixels(predicted: torch.Tensor, frames: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """Turn normalized pixels back into a clip, with the true mean and contrast of each token.

    predicted (B, tokens, P * 3) as `pixel_targets`.
    frames    (B, T, H, W, 3), the true clip.
    returns   (B, T, H, W, 3) float in 0..1.
    """
    _, mean, deviation = pixel_statistics(cut_cubes(frames, grid))
    cubes = predicted.unflatten(-1, (-1, 3)) * deviation + mean
    return join_cubes(cubes.flatten(2), grid).clamp(0, 1)


def normalize_targets(tokens: torch.Tensor, how: Normalization = "clip-channel") -> torch.Tensor:
    """Normalize teacher tokens (B, N, D).

    clip-channel  each channel over all tokens of the clip, masked and visible (SMILE).
    token         each token over its channels.
    none          as they are.
    """
    if how == "none":
        return tokens
    over = 1 if how == "clip-channel" else -1
    variance, mean = torch.var_mean(tokens, dim=over, correction=1, keepdim=True)
    return (tokens - mean) / (variance.sqrt() + EPSILON)


def mean_squared_error(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over masked tokens and channels, in float32: scalar."""
    return (predicted.float() - target.float()).square().mean()
