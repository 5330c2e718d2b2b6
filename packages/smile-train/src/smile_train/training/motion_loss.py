"""The loss of predicted motion: normalized displacements of masked tokens, where they are known."""

from __future__ import annotations

import torch

from smile_train.config.motion_target import MotionNorm

EPSILON = 1e-6
"""Added to deviations. TrackMAE."""


def motion_targets(
    displacement: torch.Tensor, how: MotionNorm, patch: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalize displacements.

    size   divided by the token's side: 1 is a whole token.
    token  each axis over the token's known points, (x - mean) / (sqrt(unbiased variance) + 1e-6):
           how points move relative to each other; a rigid shift becomes zeros (TrackMAE).
    none   pixels.

    Args:
        displacement: (..., 2 * points) float, pixels: x, y of a point after the other; NaN where
            unknown.
        patch: Side of a token, pixels.

    Returns:
        Targets (..., 2 * points) float32, 0 where unknown, and which are known, bool. Per token a
        point is unknown as well where no other of its token is known.
    """
    points = displacement.float().unflatten(-1, (-1, 2))
    known = ~points.isnan()
    values = points.nan_to_num()
    if how == "size":
        values = values / patch
    elif how == "token":
        count = known.sum(-2, keepdim=True)
        mean = values.sum(-2, keepdim=True) / count.clamp(min=1)
        centered = torch.where(known, values - mean, 0.0)
        variance = centered.square().sum(-2, keepdim=True) / (count - 1).clamp(min=1)
        known = known & (count > 1)
        values = torch.where(known, centered / (variance.sqrt() + EPSILON), 0.0)
    return values.flatten(-2), known.flatten(-2)


def motion_loss(
    predicted: torch.Tensor, target: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared error of what is known, a mean over views of the mean of each.

    A view of which nothing is known counts as 0, whatever batch it is in, so that the loss does not
    depend on how a batch is split over processes; where all is known it is the mean over all.

    Args:
        predicted: (B, Nm, D), target (B, Nm, D), known (B, Nm, D) bool.

    Returns:
        The loss, and whether anything was known, both scalars, in float32 and bool.
    """
    squares = torch.where(known, predicted.float() - target, 0.0).square().sum((1, 2))
    count = known.sum((1, 2))
    return (squares / count.clamp(min=1)).mean(), count.any()
