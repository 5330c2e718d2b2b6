"""The loss of predicted motion: normalized displacements of masked tokens, where they are known."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from smile_train.config.motion_target import MotionNorm
from smile_train.config.pretrain import PretrainConfig

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
    squares = torch.where(known, predicted.float() - target, 0.0).square()
    return _mean_of_known(squares, known), known.any()


def visibility_loss(predicted: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of visibility where it is known, a mean over views as of `motion_loss`.

    Args:
        predicted: (B, Nm, points) log-odds.
        visible: (B, Nm, points) 0 or 1; NaN where unknown.
    """
    known = ~visible.isnan()
    target = visible.float().nan_to_num()
    entropy = F.binary_cross_entropy_with_logits(predicted.float(), target, reduction="none")
    return _mean_of_known(torch.where(known, entropy, 0.0), known)


def _mean_of_known(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    return (values.sum((1, 2)) / known.sum((1, 2)).clamp(min=1)).mean()


def rate_targets(
    rates: torch.Tensor, how: MotionNorm, tubelet: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put rates of rotation and growth into units in which they are as large as displacements are.

    Args:
        rates: (..., 3 * points) float, of a point after the other: degrees a frame, and the changes
            of the logarithms of width and height a frame; NaN where unknown.
        how: `size` and `token`: radians and logarithms a slice; `none`: as they are. Per token,
            rates of one object would all be zeros.
        tubelet: Frames in a slice.

    Returns:
        Targets (..., 3 * points) float32, 0 where unknown, and which are known, bool.
    """
    values = rates.float().unflatten(-1, (-1, 3))
    if how != "none":
        turn, growth = values.split([1, 2], -1)
        values = torch.cat([turn * (math.pi / 180 * tubelet), growth * tubelet], -1)
    return values.nan_to_num().flatten(-2), ~rates.isnan()


def motion_losses(
    predicted: torch.Tensor, motion: torch.Tensor, config: PretrainConfig
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Compute the loss of each part of `MotionTargetOptions.motion_parts`.

    Args:
        predicted: (B, Nm, motion_dim).
        motion: (B, Nm, motion_dim), as batches have it; NaN where unknown.

    Returns:
        Scalars by part, and whether any displacement was known, scalar bool.
    """
    parts = config.motion_parts
    of, true = (
        dict(zip(parts, values.split(list(parts.values()), -1), strict=True))
        for values in (predicted, motion)
    )
    targets = motion_targets(true["displacement"], config.motion_norm, config.patch)
    displacement, known = motion_loss(of["displacement"], *targets)
    losses = {"displacement": displacement}
    if "visibility" in parts:
        losses["visibility"] = visibility_loss(of["visibility"], true["visibility"])
    if "rates" in parts:
        targets = rate_targets(true["rates"], config.motion_norm, config.tubelet)
        losses["rates"], _ = motion_loss(of["rates"], *targets)
    return losses, known
