"""Targets of reconstruction, and the loss."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from smile_motion.tokens import TokenGrid

from smile_train.config.pretrain import PretrainConfig
from smile_train.models.layers import cut_cubes, join_cubes, take, to_unit
from smile_train.models.mae import Prediction
from smile_train.teachers import Teacher
from smile_train.training.motion_loss import motion_losses


def teach(
    frames: torch.Tensor, teacher: Teacher | None, config: PretrainConfig
) -> torch.Tensor | None:
    """The teacher's normalized tokens, (B, T, H, W, 3) uint8 to (B, N, D), those of one layer
    after the other; none for pixels."""
    if teacher is None:
        return None
    tokens = teacher(frames, config.grid)
    if len(teacher.layers) == 1:
        return normalize_targets(tokens, config.target_norm)
    layers = tokens.unflatten(-1, (len(teacher.layers), -1))
    return normalize_targets(layers, config.target_norm).flatten(-2)


def masked_loss(
    student: torch.nn.Module,
    frames: torch.Tensor,
    visible: torch.Tensor,
    masked: torch.Tensor,
    features: torch.Tensor | None,
    config: PretrainConfig,
    *,
    motion: torch.Tensor | None = None,
    note: Callable[[dict[str, torch.Tensor]], None] = lambda parts: None,
) -> torch.Tensor:
    """Loss over a batch under all its masks.

    Args:
        frames: (B, T, H, W, 3) uint8.
        visible: (B, M, Nv) and masked (B, M, Nm) int64: token numbers of M masks a clip.
        features: (B, N, D) normalized teacher tokens; none for the pixel target.
        motion: (B, N, motion_dim), NaN where unknown; for a student that predicts it, whose loss
            is added with its weight.
        note: Callback with the parts that the loss is made of, if it has several, scalars on the
            device: `masked_loss`, that of each layer (`layer_4_loss`), `visible_loss`,
            `motion_loss` and its parts; and `motion_known`, whether any motion was known.
    """
    clips, masks = visible.shape[:2]
    visible, masked = visible.flatten(0, 1), masked.flatten(0, 1)

    def taken(values: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """A clip's values at the tokens of each of its masks."""
        return take(values, tokens.reshape(clips, -1)).reshape(*tokens.shape, -1)

    with torch.no_grad():
        whole = cut_cubes(frames, config.grid) if features is None else features

    @torch.no_grad()
    def target_of(tokens: torch.Tensor) -> torch.Tensor:
        target = taken(whole, tokens)
        return standardize_pixels(target) if features is None else target

    if masks > 1:
        frames = frames.repeat_interleave(masks, 0)
    predicted = student(frames, visible, masked)
    if not isinstance(predicted, Prediction):
        predicted = Prediction(predicted)
    target = target_of(masked)
    loss = of_masked = mean_squared_error(predicted.masked, target)
    parts: dict[str, torch.Tensor] = {}
    if config.target_layers and features is not None:
        parts |= layer_losses(predicted.masked, target, config.target_layers)
    if predicted.visible is not None:
        distance = mask_distance(visible, config.grid)
        scale = distance.rsqrt() if config.visible_scaling == "distance" else None
        of_visible = mean_squared_error(predicted.visible, target_of(visible), scale)
        parts |= {"masked_loss": of_masked, "visible_loss": of_visible}
        loss = loss + config.visible_weight * of_visible
    if predicted.motion is not None and motion is not None:
        moved = taken(motion, masked)
        of_motion, known = motion_losses(predicted.motion, moved, config)
        total = torch.stack(list(of_motion.values())).sum()
        loss = loss + config.motion_factor * total
        parts |= {"motion_loss": total, "motion_known": known}
        if len(of_motion) > 1:
            parts |= {f"motion_{name}_loss": value for name, value in of_motion.items()}
    if parts:
        note({name: value.detach() for name, value in parts.items()})
    return loss


@torch.no_grad()
def layer_losses(
    predicted: torch.Tensor, target: torch.Tensor, layers: tuple[int, ...]
) -> dict[str, torch.Tensor]:
    """Tell the loss of each layer apart: (B, n, layers * D) both, of which theirs is the mean."""
    both = (values.float().unflatten(-1, (len(layers), -1)) for values in (predicted, target))
    errors = torch.sub(*both).square().mean((0, 1, 3)).unbind()
    return {f"layer_{layer}_loss": error for layer, error in zip(layers, errors, strict=True)}


def mask_distance(visible: torch.Tensor, grid: TokenGrid) -> torch.Tensor:
    """Compute how far visible tokens are from the nearest masked one (V-JEPA 2.1).

    Args:
        visible: (B, Nv) int64 token numbers; all others are masked.

    Returns:
        (B, Nv) float32: Euclidean distance over slices, rows and columns, in tokens; infinite where
        all are visible.
    """
    square = torch.zeros((len(visible), grid.tokens), device=visible.device)
    square.scatter_(1, visible, torch.inf)
    square = square.unflatten(1, grid.shape)
    for axis, length in enumerate(grid.shape, start=1):
        # The nearest along one axis after the other is the nearest of all.
        place = torch.arange(length, device=visible.device)
        apart = (place[:, None] - place).square()
        square = (square.movedim(axis, -1)[..., None, :] + apart).amin(-1).movedim(-1, axis)
    return square.flatten(1).gather(1, visible).sqrt()


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
    return standardize_pixels(cubes if index is None else take(cubes, index))


def standardize_pixels(cubes: torch.Tensor) -> torch.Tensor:
    """Normalize tokens' pixels per token and color, (B, n, P * 3) as `cut_cubes` to float32."""
    centered, _, deviation = pixel_statistics(cubes)
    return centered.div_(deviation).flatten(2)


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
    """Normalize teacher tokens (B, N, D), or (B, N, layers, D) of several layers.

    clip-channel  each channel over all tokens of the clip, masked and visible (SMILE).
    token         each token over its channels.
    none          as they are.
    """
    if how == "none":
        return tokens
    over = 1 if how == "clip-channel" else -1
    variance, mean = torch.var_mean(tokens, dim=over, correction=1, keepdim=True)
    return (tokens - mean) / (variance.sqrt() + EPSILON)


def mean_squared_error(
    predicted: torch.Tensor, target: torch.Tensor, scale: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over tokens and channels, in float32: scalar.

    Args:
        predicted: (B, n, D).
        target: (B, n, D).
        scale: (B, n) factors of the tokens' errors; none by default.
    """
    if scale is None:
        return F.mse_loss(predicted.float(), target.float())
    return ((predicted.float() - target.float()).square() * scale[..., None]).mean()
