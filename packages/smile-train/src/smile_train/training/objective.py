"""The loss of a batch: what the teacher says, what the student predicts."""

import torch

from smile_train.config.pretrain import PretrainConfig
from smile_train.models.embedding import take
from smile_train.teachers import Teacher
from smile_train.training.losses import mean_squared_error, normalise_targets, pixel_targets


def teach(
    frames: torch.Tensor, teacher: Teacher | None, config: PretrainConfig
) -> torch.Tensor | None:
    """The teacher's normalised tokens, (B, T, H, W, 3) uint8 to (B, N, D); none for pixels."""
    return (
        None
        if teacher is None
        else normalise_targets(teacher(frames, config.grid), config.target_norm)
    )


def masked_loss(
    student: torch.nn.Module,
    frames: torch.Tensor,
    visible: torch.Tensor,
    masked: torch.Tensor,
    features: torch.Tensor | None,
    config: PretrainConfig,
) -> torch.Tensor:
    """Loss over a batch under all its masks.

    frames    (B, T, H, W, 3) uint8.
    visible   (B, M, Nv) and masked (B, M, Nm) int64: token numbers of M masks a clip.
    features  (B, N, D) normalised teacher tokens; none for the pixel target.
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
    return mean_squared_error(student(frames, visible, masked), target)
